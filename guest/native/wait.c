/* Waiting, signals, and the three ways in which a host is connected. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

/* guest/sys.ts, pollFlags and signalFlags */
enum { WAIT_IN = 1, WAIT_OUT = 4, WAIT_ERROR = 8, WAIT_HANGUP = 16 };
enum { SIGNAL_TERMINATE = 1, SIGNAL_IO = 2 };
enum { MAX_FDS = 8 };

static volatile sig_atomic_t came;

static void note_signal(int number)
{
    came |= number == SIGIO ? SIGNAL_IO : SIGNAL_TERMINATE;
}

void signals_init(void)
{
    static const int noted[] = { SIGTERM, SIGINT, SIGHUP, SIGIO };
    struct sigaction action = { .sa_handler = note_signal };
    sigset_t blocked;
    sigemptyset(&blocked);
    for (int i = 0; i < COUNT(noted); i++) {
        sigaction(noted[i], &action, NULL);
        sigaddset(&blocked, noted[i]);
    }
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static int get_number(JSContext *ctx, JSValueConst list, uint32_t at, int *number)
{
    JSValue value = JS_GetPropertyUint32(ctx, list, at);
    int failed = JS_ToInt32(ctx, number, value);
    JS_FreeValue(ctx, value);
    return failed;
}

static int list_length(JSContext *ctx, JSValueConst list)
{
    int length = 0;
    JSValue value = JS_GetPropertyStr(ctx, list, "length");
    JS_ToInt32(ctx, &length, value);
    JS_FreeValue(ctx, value);
    return length > MAX_FDS ? MAX_FDS : length;
}

static JSValue wait_poll(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv)
{
    struct pollfd set[MAX_FDS];
    int count = list_length(ctx, argv[0]), wanted = 0, ready;
    double milliseconds = -1;
    sigset_t none;
    (void)this_value;
    (void)argc;
    for (int i = 0; i < count; i++) {
        if (get_number(ctx, argv[0], (uint32_t)i, &set[i].fd) || get_number(ctx, argv[1], (uint32_t)i, &wanted))
            return JS_EXCEPTION;
        set[i].events = (short)((wanted & WAIT_IN ? POLLIN : 0) | (wanted & WAIT_OUT ? POLLOUT : 0));
        set[i].revents = 0;
    }
    if (JS_ToFloat64(ctx, &milliseconds, argv[3]))
        return JS_EXCEPTION;
    struct timespec wait = { .tv_sec = (time_t)(milliseconds / 1000) };
    wait.tv_nsec = (long)((milliseconds - (double)wait.tv_sec * 1000) * 1e6);
    sigemptyset(&none);
    ready = ppoll(set, (nfds_t)count, milliseconds < 0 ? NULL : &wait, &none);
    if (ready < 0)
        return errno == EINTR ? JS_NewInt32(ctx, 0) : result_of(ctx, -1);
    for (int i = 0; i < count; i++) {
        short seen = set[i].revents;
        int events = (seen & POLLIN ? WAIT_IN : 0) | (seen & POLLOUT ? WAIT_OUT : 0) | (seen & (POLLERR | POLLNVAL) ? WAIT_ERROR : 0) |
                     (seen & POLLHUP ? WAIT_HANGUP : 0);
        if (JS_SetPropertyUint32(ctx, argv[2], (uint32_t)i, JS_NewInt32(ctx, events)) < 0)
            return JS_EXCEPTION;
    }
    return JS_NewInt32(ctx, ready);
}

static JSValue wait_take_signals(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv)
{
    sigset_t all, before;
    (void)this_value;
    (void)argc;
    (void)argv;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    int signals = came;
    came = 0;
    sigprocmask(SIG_SETMASK, &before, NULL);
    return JS_NewInt32(ctx, signals);
}

static int listen_at(const char *path, size_t length)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    if (length >= sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(address.sun_path, path, length);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    /* qemu-ga takes a path over from whoever had it, and so must its successor after a kill. */
    unlink(address.sun_path);
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, 1)) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

static JSValue wait_listen_unix(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv)
{
    struct bytes path;
    (void)this_value;
    (void)argc;
    if (bytes_borrow(ctx, argv[0], &path))
        return JS_EXCEPTION;
    JSValue result = result_of(ctx, listen_at(path.data, path.length));
    bytes_release(ctx, &path);
    return result;
}

static JSValue wait_accept(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv)
{
    int fd = -1;
    (void)this_value;
    (void)argc;
    if (JS_ToInt32(ctx, &fd, argv[0]))
        return JS_EXCEPTION;
    return result_of(ctx, accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
}

/* A serial line that carries bytes as they are, at 38400 as qemu-ga sets it, with whatever lay there before thrown away. */
static JSValue wait_make_raw(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv)
{
    int fd = -1;
    struct termios mode;
    (void)this_value;
    (void)argc;
    if (JS_ToInt32(ctx, &fd, argv[0]))
        return JS_EXCEPTION;
    if (tcgetattr(fd, &mode))
        return result_of(ctx, -1);
    cfmakeraw(&mode);
    mode.c_iflag &= ~(tcflag_t)(IXOFF | IXANY | IMAXBEL | IGNPAR | INPCK);
    mode.c_oflag = 0;
    mode.c_lflag = 0;
    mode.c_cflag |= CLOCAL | CREAD;
    cfsetspeed(&mode, B38400);
    mode.c_cc[VMIN] = 1;
    mode.c_cc[VTIME] = 0;
    tcflush(fd, TCIFLUSH);
    return result_of(ctx, tcsetattr(fd, TCSANOW, &mode));
}

/* O_ASYNC has no effect in open(2), only here. */
static JSValue wait_set_async(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv)
{
    int fd = -1;
    (void)this_value;
    (void)argc;
    if (JS_ToInt32(ctx, &fd, argv[0]))
        return JS_EXCEPTION;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETOWN, getpid()))
        return result_of(ctx, -1);
    return result_of(ctx, fcntl(fd, F_SETFL, JS_ToBool(ctx, argv[1]) ? flags | O_ASYNC : flags & ~O_ASYNC));
}

static JSValue wait_sleep(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv)
{
    double milliseconds = 0;
    sigset_t none;
    (void)this_value;
    (void)argc;
    if (JS_ToFloat64(ctx, &milliseconds, argv[0]))
        return JS_EXCEPTION;
    struct timespec wait = { .tv_sec = (time_t)(milliseconds / 1000) };
    wait.tv_nsec = (long)((milliseconds - (double)wait.tv_sec * 1000) * 1e6);
    sigemptyset(&none);
    ppoll(NULL, 0, &wait, &none);
    return JS_UNDEFINED;
}

const JSCFunctionListEntry wait_functions[] = {
    JS_CFUNC_DEF("poll", 4, wait_poll),
    JS_CFUNC_DEF("takeSignals", 0, wait_take_signals),
    JS_CFUNC_DEF("listenUnix", 1, wait_listen_unix),
    JS_CFUNC_DEF("accept", 1, wait_accept),
    JS_CFUNC_DEF("makeRaw", 1, wait_make_raw),
    JS_CFUNC_DEF("setAsync", 2, wait_set_async),
    JS_CFUNC_DEF("sleepMs", 1, wait_sleep),
};
const int wait_function_count = COUNT(wait_functions);
