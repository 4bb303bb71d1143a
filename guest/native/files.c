/* Files and directories. Paths come from the kernel's tables, the command line or the code, never from the host. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "agent.h"

/* guest/sys.ts, openFlags */
enum { OPEN_WRITE = 1, OPEN_READ_WRITE = 2, OPEN_CREATE = 4, OPEN_TRUNCATE = 8, OPEN_APPEND = 16, OPEN_NONBLOCK = 32, OPEN_NOCTTY = 64 };

static char read_buffer[65536];
static int read_was_plain;

/* Calls `call` with the path that the first argument is. */
static JSValue with_path(JSContext *ctx, JSValueConst *argv, JSValue (*call)(JSContext *, const char *, JSValueConst *))
{
    struct bytes path;
    if (bytes_borrow(ctx, argv[0], &path))
        return JS_EXCEPTION;
    JSValue result = call(ctx, path.data, argv);
    bytes_release(ctx, &path);
    return result;
}

#define PATH_FUNCTION(name)                                                                      \
    static JSValue name(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv)   \
    {                                                                                            \
        (void)this_value;                                                                        \
        (void)argc;                                                                              \
        return with_path(ctx, argv, name##_path);                                                \
    }

static JSValue file_open_path(JSContext *ctx, const char *path, JSValueConst *argv)
{
    int flags = 0, mode = O_CLOEXEC;
    if (JS_ToInt32(ctx, &flags, argv[1]))
        return JS_EXCEPTION;
    if (flags & OPEN_READ_WRITE)
        mode |= O_RDWR;
    else if (flags & OPEN_WRITE)
        mode |= O_WRONLY;
    mode |= (flags & OPEN_CREATE ? O_CREAT : 0) | (flags & OPEN_TRUNCATE ? O_TRUNC : 0) | (flags & OPEN_APPEND ? O_APPEND : 0);
    mode |= (flags & OPEN_NONBLOCK ? O_NONBLOCK : 0) | (flags & OPEN_NOCTTY ? O_NOCTTY : 0);
    return result_of(ctx, open(path, mode, 0600));
}
PATH_FUNCTION(file_open)

static JSValue file_close(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv)
{
    int fd = -1;
    (void)this_value;
    (void)argc;
    if (JS_ToInt32(ctx, &fd, argv[0]))
        return JS_EXCEPTION;
    return result_of(ctx, close(fd));
}

static JSValue file_read(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv)
{
    int fd = -1;
    uint32_t limit = 0;
    (void)this_value;
    (void)argc;
    if (JS_ToInt32(ctx, &fd, argv[0]) || JS_ToUint32(ctx, &limit, argv[1]))
        return JS_EXCEPTION;
    if (limit > sizeof(read_buffer))
        limit = sizeof(read_buffer);
    ssize_t length = read(fd, read_buffer, limit);
    if (length < 0)
        return result_of(ctx, -1);
    read_was_plain = 1;
    for (ssize_t at = 0; at < length; at++) {
        unsigned char c = (unsigned char)read_buffer[at];
        if ((c < 0x20 && c != '\n') || c >= 0x7f)
            read_was_plain = 0;
    }
    return bytes_new(ctx, read_buffer, (size_t)length);
}

static JSValue file_read_was_plain(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv)
{
    (void)this_value;
    (void)argc;
    (void)argv;
    return JS_NewBool(ctx, read_was_plain);
}

static JSValue file_write(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv)
{
    int fd = -1;
    struct bytes data;
    (void)this_value;
    (void)argc;
    if (JS_ToInt32(ctx, &fd, argv[0]) || bytes_borrow(ctx, argv[1], &data))
        return JS_EXCEPTION;
    JSValue result = result_of(ctx, write(fd, data.data, data.length));
    bytes_release(ctx, &data);
    return result;
}

static JSValue file_rename_path(JSContext *ctx, const char *path, JSValueConst *argv)
{
    struct bytes to;
    if (bytes_borrow(ctx, argv[1], &to))
        return JS_EXCEPTION;
    JSValue result = result_of(ctx, rename(path, to.data));
    bytes_release(ctx, &to);
    return result;
}
PATH_FUNCTION(file_rename)

static JSValue file_unlink_path(JSContext *ctx, const char *path, JSValueConst *argv)
{
    (void)argv;
    return result_of(ctx, unlink(path));
}
PATH_FUNCTION(file_unlink)

static JSValue file_lock(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv)
{
    int fd = -1;
    struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    (void)this_value;
    (void)argc;
    if (JS_ToInt32(ctx, &fd, argv[0]))
        return JS_EXCEPTION;
    return result_of(ctx, fcntl(fd, F_SETLK, &whole));
}

static JSValue file_read_link_path(JSContext *ctx, const char *path, JSValueConst *argv)
{
    char target[PATH_MAX];
    ssize_t length = readlink(path, target, sizeof(target));
    (void)argv;
    return length < 0 ? result_of(ctx, -1) : bytes_new(ctx, target, (size_t)length);
}
PATH_FUNCTION(file_read_link)

static JSValue file_real_path_path(JSContext *ctx, const char *path, JSValueConst *argv)
{
    char resolved[PATH_MAX];
    (void)argv;
    if (!realpath(path, resolved))
        return result_of(ctx, -1);
    return bytes_new(ctx, resolved, strlen(resolved));
}
PATH_FUNCTION(file_real_path)

/* One letter for what it is, then the name. */
static JSValue describe_entry(JSContext *ctx, DIR *directory, const struct dirent *entry)
{
    char text[sizeof(entry->d_name) + 2];
    unsigned char type = entry->d_type;
    struct stat status;
    if (type == DT_UNKNOWN && fstatat(dirfd(directory), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0)
        type = S_ISDIR(status.st_mode) ? DT_DIR : S_ISLNK(status.st_mode) ? DT_LNK : DT_REG;
    text[0] = type == DT_DIR ? 'd' : type == DT_LNK ? 'l' : '-';
    size_t length = strnlen(entry->d_name, sizeof(entry->d_name));
    memcpy(text + 1, entry->d_name, length);
    return bytes_new(ctx, text, length + 1);
}

static JSValue file_read_directory_path(JSContext *ctx, const char *path, JSValueConst *argv)
{
    (void)argv;
    DIR *directory = opendir(path);
    if (!directory)
        return result_of(ctx, -1);
    JSValue list = JS_NewArray(ctx);
    uint32_t count = 0;
    for (struct dirent *entry; !JS_IsException(list) && (entry = readdir(directory));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        JSValue item = describe_entry(ctx, directory, entry);
        if (JS_IsException(item) || JS_SetPropertyUint32(ctx, list, count++, item) < 0) {
            JS_FreeValue(ctx, list);
            list = JS_EXCEPTION;
        }
    }
    closedir(directory);
    return list;
}
PATH_FUNCTION(file_read_directory)

static JSValue device_text(JSContext *ctx, dev_t device)
{
    char text[32];
    int length = snprintf(text, sizeof(text), "%u:%u", major(device), minor(device));
    return JS_NewStringLen(ctx, text, (size_t)length);
}

static JSValue describe_status(JSContext *ctx, int failed, const struct stat *status)
{
    if (failed)
        return result_of(ctx, -1);
    JSValue object = JS_NewObject(ctx);
    if (JS_IsException(object))
        return object;
    JS_SetPropertyStr(ctx, object, "mode", JS_NewUint32(ctx, status->st_mode));
    JS_SetPropertyStr(ctx, object, "device", device_text(ctx, status->st_dev));
    JS_SetPropertyStr(ctx, object, "special", device_text(ctx, status->st_rdev));
    return object;
}

static JSValue file_stat_path(JSContext *ctx, const char *path, JSValueConst *argv)
{
    struct stat status;
    (void)argv;
    return describe_status(ctx, stat(path, &status), &status);
}
PATH_FUNCTION(file_stat)

static JSValue file_stat_fd(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv)
{
    int fd = -1;
    struct stat status;
    (void)this_value;
    (void)argc;
    if (JS_ToInt32(ctx, &fd, argv[0]))
        return JS_EXCEPTION;
    return describe_status(ctx, fstat(fd, &status), &status);
}

static JSValue file_capacity_path(JSContext *ctx, const char *path, JSValueConst *argv)
{
    struct statvfs status;
    (void)argv;
    if (statvfs(path, &status))
        return result_of(ctx, -1);
    JSValue object = JS_NewObject(ctx);
    if (JS_IsException(object))
        return object;
    JS_SetPropertyStr(ctx, object, "fragmentBytes", JS_NewInt64(ctx, (int64_t)status.f_frsize));
    JS_SetPropertyStr(ctx, object, "blocks", JS_NewInt64(ctx, (int64_t)status.f_blocks));
    JS_SetPropertyStr(ctx, object, "freeBlocks", JS_NewInt64(ctx, (int64_t)status.f_bfree));
    JS_SetPropertyStr(ctx, object, "availableBlocks", JS_NewInt64(ctx, (int64_t)status.f_bavail));
    return object;
}
PATH_FUNCTION(file_capacity)

static JSValue file_filesystem_type_path(JSContext *ctx, const char *path, JSValueConst *argv)
{
    struct statfs status;
    (void)argv;
    if (statfs(path, &status))
        return result_of(ctx, -1);
    return JS_NewInt64(ctx, (int64_t)(uint32_t)status.f_type);
}
PATH_FUNCTION(file_filesystem_type)

const JSCFunctionListEntry file_functions[] = {
    JS_CFUNC_DEF("open", 2, file_open),
    JS_CFUNC_DEF("close", 1, file_close),
    JS_CFUNC_DEF("read", 2, file_read),
    JS_CFUNC_DEF("readWasPlain", 0, file_read_was_plain),
    JS_CFUNC_DEF("write", 2, file_write),
    JS_CFUNC_DEF("rename", 2, file_rename),
    JS_CFUNC_DEF("unlink", 1, file_unlink),
    JS_CFUNC_DEF("lock", 1, file_lock),
    JS_CFUNC_DEF("readLink", 1, file_read_link),
    JS_CFUNC_DEF("realPath", 1, file_real_path),
    JS_CFUNC_DEF("readDirectory", 1, file_read_directory),
    JS_CFUNC_DEF("stat", 1, file_stat),
    JS_CFUNC_DEF("statFd", 1, file_stat_fd),
    JS_CFUNC_DEF("capacity", 1, file_capacity),
    JS_CFUNC_DEF("filesystemType", 1, file_filesystem_type),
};
const int file_function_count = COUNT(file_functions);
