/* Freezing, thawing and trimming. FIFREEZE and FITRIM run in a thread, because nothing can call them back. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <sys/types.h>
#include <unistd.h>

#include "agent.h"

struct work {
    int kind;
    int fd;
    struct fstrim_range range;
};

struct result {
    int status;
    struct fstrim_range range;
};

enum { WORK_FREEZE, WORK_TRIM };

static int work_pipe[2], result_pipe[2];

static struct result do_work(const struct work *work)
{
    struct result result = { .range = work->range };
    int failed = work->kind == WORK_FREEZE ? ioctl(work->fd, FIFREEZE, 0) : ioctl(work->fd, FITRIM, &result.range);
    if (failed)
        result.status = -errno;
    return result;
}

static void *run_worker(void *unused)
{
    struct work work;
    (void)unused;
    /* Structures shorter than PIPE_BUF come and go whole. */
    while (read(work_pipe[0], &work, sizeof(work)) == (ssize_t)sizeof(work)) {
        struct result result = do_work(&work);
        if (write(result_pipe[1], &result, sizeof(result)) != (ssize_t)sizeof(result))
            break;
    }
    return NULL;
}

static JSValue storage_start_worker(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv)
{
    pthread_attr_t attributes;
    pthread_t thread;
    (void)this_value;
    (void)argc;
    (void)argv;
    if (pipe2(work_pipe, O_CLOEXEC) || pipe2(result_pipe, O_CLOEXEC))
        return result_of(ctx, -1);
    pthread_attr_init(&attributes);
    /* The stack is locked memory. */
    pthread_attr_setstacksize(&attributes, 16384 > PTHREAD_STACK_MIN ? 16384 : PTHREAD_STACK_MIN);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    int error = pthread_create(&thread, &attributes, run_worker, NULL);
    pthread_attr_destroy(&attributes);
    return JS_NewInt32(ctx, error ? -error : result_pipe[0]);
}

/* A number of bytes; `missing` where the object has none of that name. */
static int get_bytes(JSContext *ctx, JSValueConst object, const char *name, uint64_t missing, uint64_t *number)
{
    JSValue value = JS_GetPropertyStr(ctx, object, name);
    double bytes = 0;
    int failed = JS_IsUndefined(value) ? 0 : JS_ToFloat64(ctx, &bytes, value);
    *number = JS_IsUndefined(value) ? missing : (uint64_t)bytes;
    JS_FreeValue(ctx, value);
    return failed;
}

static int get_digits(JSContext *ctx, JSValueConst object, const char *name, uint64_t *number)
{
    JSValue value = JS_GetPropertyStr(ctx, object, name);
    const char *digits = JS_ToCString(ctx, value);
    JS_FreeValue(ctx, value);
    if (!digits)
        return -1;
    /* A negative one wraps around. */
    *number = strtoull(digits, NULL, 10);
    JS_FreeCString(ctx, digits);
    return 0;
}

static JSValue storage_submit_work(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv)
{
    struct work work;
    uint64_t start = 0, length = 0, minimum = 0;
    (void)this_value;
    memset(&work, 0, sizeof(work));
    const char *kind = JS_ToCString(ctx, argv[0]);
    if (!kind)
        return JS_EXCEPTION;
    work.kind = kind[0] == 't' ? WORK_TRIM : WORK_FREEZE;
    JS_FreeCString(ctx, kind);
    if (JS_ToInt32(ctx, &work.fd, argv[1]))
        return JS_EXCEPTION;
    if (argc > 2 && JS_IsObject(argv[2])) {
        if (get_bytes(ctx, argv[2], "start", 0, &start) || get_bytes(ctx, argv[2], "length", UINT64_MAX - start, &length) ||
            get_digits(ctx, argv[2], "minimum", &minimum))
            return JS_EXCEPTION;
        work.range = (struct fstrim_range){ .start = start, .len = length, .minlen = minimum };
    }
    if (write(work_pipe[1], &work, sizeof(work)) != (ssize_t)sizeof(work))
        return JS_ThrowInternalError(ctx, "the worker is gone");
    return JS_UNDEFINED;
}

static JSValue storage_finish_work(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv)
{
    struct result result;
    (void)this_value;
    (void)argc;
    (void)argv;
    if (read(result_pipe[0], &result, sizeof(result)) != (ssize_t)sizeof(result))
        return JS_ThrowInternalError(ctx, "the worker is gone");
    JSValue object = JS_NewObject(ctx);
    if (JS_IsException(object))
        return object;
    JS_SetPropertyStr(ctx, object, "status", JS_NewInt32(ctx, result.status));
    char digits[24];
    int length = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)result.range.minlen);
    JS_SetPropertyStr(ctx, object, "trimmed", JS_NewFloat64(ctx, (double)result.range.len));
    JS_SetPropertyStr(ctx, object, "minimum", JS_NewStringLen(ctx, digits, (size_t)length));
    return object;
}

static JSValue storage_thaw(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv)
{
    int fd = -1;
    (void)this_value;
    (void)argc;
    if (JS_ToInt32(ctx, &fd, argv[0]))
        return JS_EXCEPTION;
    return result_of(ctx, ioctl(fd, FITHAW, 0));
}

static JSValue storage_loop_backing(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv)
{
    struct bytes path;
    struct loop_info64 info;
    (void)this_value;
    (void)argc;
    if (bytes_borrow(ctx, argv[0], &path))
        return JS_EXCEPTION;
    memset(&info, 0, sizeof(info));
    int fd = open(path.data, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bytes_release(ctx, &path);
    if (fd < 0)
        return result_of(ctx, -1);
    JSValue result;
    if (ioctl(fd, LOOP_GET_STATUS64, &info)) {
        result = result_of(ctx, -1);
    } else {
        /* The kernel encodes it as its own huge number: 20 bits of minor in two parts around 12 bits of major. */
        dev_t device = (dev_t)info.lo_device;
        char text[32];
        int length = snprintf(text, sizeof(text), "%u:%u", major(device), minor(device));
        result = JS_NewStringLen(ctx, text, (size_t)length);
    }
    close(fd);
    return result;
}

const JSCFunctionListEntry storage_functions[] = {
    JS_CFUNC_DEF("startWorker", 0, storage_start_worker),
    JS_CFUNC_DEF("submitWork", 3, storage_submit_work),
    JS_CFUNC_DEF("finishWork", 0, storage_finish_work),
    JS_CFUNC_DEF("thaw", 1, storage_thaw),
    JS_CFUNC_DEF("loopBacking", 1, storage_loop_backing),
};
const int storage_function_count = COUNT(storage_functions);
