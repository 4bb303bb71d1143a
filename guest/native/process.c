/* The process itself: its memory, its privileges, its log, its end. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

#ifndef PR_SET_NO_NEW_PRIVS
#define PR_SET_NO_NEW_PRIVS 38
#endif

enum { LAST_POSSIBLE_CAPABILITY = 63 };

static int is_kept(int capability)
{
    /* FIFREEZE, FITHAW and FITRIM; to open a mount point whatever its mode; to lock what the heap gets later. */
    return capability == CAP_SYS_ADMIN || capability == CAP_DAC_READ_SEARCH || capability == CAP_IPC_LOCK;
}

static int has_capability(int capability)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[2];
    memset(data, 0, sizeof(data));
    return !syscall(SYS_capget, &header, data) && (data[capability / 32].effective & (1u << (capability % 32)));
}

static JSValue process_drop_privileges(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[2];
    (void)this_value;
    (void)argc;
    (void)argv;
    memset(data, 0, sizeof(data));
    if (syscall(SYS_capget, &header, data))
        return result_of(ctx, -1);
    for (int capability = 0; capability <= LAST_POSSIBLE_CAPABILITY; capability++) {
        if (is_kept(capability))
            continue;
        prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
        data[capability / 32].permitted &= ~(1u << (capability % 32));
    }
    for (int half = 0; half < 2; half++) {
        data[half].effective = data[half].permitted;
        data[half].inheritable = 0;
    }
    /* Newer than Linux 3.2, and nothing is ever executed: a kernel without it loses nothing. */
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return result_of(ctx, syscall(SYS_capset, &header, data));
}

/* Only where it cannot fail later: with a limit and without the privilege, the heap could not grow any more. */
static JSValue process_lock_memory(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv)
{
    struct rlimit limit;
    (void)this_value;
    (void)argc;
    (void)argv;
    if (!has_capability(CAP_IPC_LOCK) && (getrlimit(RLIMIT_MEMLOCK, &limit) || limit.rlim_cur != RLIM_INFINITY)) {
        errno = EPERM;
        return result_of(ctx, -1);
    }
    return result_of(ctx, mlockall(MCL_CURRENT | MCL_FUTURE));
}

static JSValue process_daemonize(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv)
{
    (void)this_value;
    (void)argc;
    (void)argv;
    pid_t child = fork();
    if (child < 0)
        return result_of(ctx, -1);
    if (child > 0)
        _exit(0);
    umask(077);
    setsid();
    if (chdir("/"))
        return result_of(ctx, -1);
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; null >= 0 && fd < 3; fd++)
        dup2(null, fd);
    if (null > 2)
        close(null);
    return JS_NewInt32(ctx, 0);
}

/* syslog(3) without its waiting: a log daemon that hangs must not hang the agent. */
static void send_log(int priority, const char *text, size_t length)
{
    enum { FACILITY_DAEMON = 3 << 3, MAX_TEXT = 900 };
    static int fd = -1;
    struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "/dev/log" };
    char line[MAX_TEXT + 128], stamp[32] = "";
    time_t now = time(NULL);
    struct tm local;
    if (fd < 0)
        fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    if (localtime_r(&now, &local))
        strftime(stamp, sizeof(stamp), "%b %e %T", &local);
    int size = snprintf(line, sizeof(line), "<%d>%s virt-trim-agent[%d]: %.*s", FACILITY_DAEMON | priority, stamp, (int)getpid(),
                        (int)(length > MAX_TEXT ? MAX_TEXT : length), text);
    sendto(fd, line, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&address, sizeof(address));
}

static JSValue process_log(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv)
{
    int priority = 6;
    struct bytes text;
    (void)this_value;
    (void)argc;
    if (JS_ToInt32(ctx, &priority, argv[0]) || bytes_borrow(ctx, argv[1], &text))
        return JS_EXCEPTION;
    send_log(priority & 7, text.data, text.length);
    bytes_release(ctx, &text);
    return JS_UNDEFINED;
}

static JSValue process_id(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv)
{
    (void)this_value;
    (void)argc;
    (void)argv;
    return JS_NewInt32(ctx, (int32_t)getpid());
}

/* No tidying up: the kernel does it, and whatever is frozen must stay so. */
static JSValue process_exit(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv)
{
    int status = 1;
    (void)this_value;
    (void)argc;
    JS_ToInt32(ctx, &status, argv[0]);
    _exit(status);
}

const JSCFunctionListEntry process_functions[] = {
    JS_CFUNC_DEF("dropPrivileges", 0, process_drop_privileges),
    JS_CFUNC_DEF("lockMemory", 0, process_lock_memory),
    JS_CFUNC_DEF("daemonize", 0, process_daemonize),
    JS_CFUNC_DEF("log", 2, process_log),
    JS_CFUNC_DEF("processId", 0, process_id),
    JS_CFUNC_DEF("exit", 1, process_exit),
};
const int process_function_count = COUNT(process_functions);
