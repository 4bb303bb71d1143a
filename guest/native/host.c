/* What the machine is: clocks, names, time zone, network interfaces. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

static JSValue host_env(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv)
{
    struct bytes name;
    (void)this_value;
    (void)argc;
    if (bytes_borrow(ctx, argv[0], &name))
        return JS_EXCEPTION;
    const char *value = getenv(name.data);
    bytes_release(ctx, &name);
    return value ? bytes_new(ctx, value, strlen(value)) : JS_UNDEFINED;
}

/* CLOCK_BOOTTIME came with Linux 2.6.39; before it there is only the clock that stands still in suspend. */
static JSValue host_boot_ms(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv)
{
    struct timespec now;
    (void)this_value;
    (void)argc;
    (void)argv;
    if (clock_gettime(CLOCK_BOOTTIME, &now))
        clock_gettime(CLOCK_MONOTONIC, &now);
    return JS_NewFloat64(ctx, (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6);
}

static JSValue host_real_micros(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv)
{
    struct timespec now;
    (void)this_value;
    (void)argc;
    (void)argv;
    clock_gettime(CLOCK_REALTIME, &now);
    return JS_NewInt64(ctx, (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000);
}

static JSValue host_unix_name(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv)
{
    struct utsname name;
    (void)this_value;
    (void)argc;
    (void)argv;
    uname(&name);
    JSValue object = JS_NewObject(ctx);
    if (JS_IsException(object))
        return object;
    JS_SetPropertyStr(ctx, object, "node", bytes_new(ctx, name.nodename, strlen(name.nodename)));
    JS_SetPropertyStr(ctx, object, "release", bytes_new(ctx, name.release, strlen(name.release)));
    JS_SetPropertyStr(ctx, object, "version", bytes_new(ctx, name.version, strlen(name.version)));
    JS_SetPropertyStr(ctx, object, "machine", bytes_new(ctx, name.machine, strlen(name.machine)));
    return object;
}

/* musl reads the zone's file again only when TZ has changed, so two names of the same file take turns. */
static void refresh_zone(void)
{
    static int turn, own;
    if (!own && getenv("TZ"))
        return;
    own = 1;
    turn = !turn;
    setenv("TZ", turn ? ":/etc/localtime" : "/etc/localtime", 1);
    tzset();
}

static JSValue host_time_zone(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv)
{
    time_t now = time(NULL);
    struct tm local;
    (void)this_value;
    (void)argc;
    (void)argv;
    refresh_zone();
    if (!localtime_r(&now, &local))
        gmtime_r(&now, &local);
    JSValue object = JS_NewObject(ctx);
    if (JS_IsException(object))
        return object;
    JS_SetPropertyStr(ctx, object, "name", local.tm_zone ? bytes_new(ctx, local.tm_zone, strlen(local.tm_zone)) : JS_UNDEFINED);
    JS_SetPropertyStr(ctx, object, "offsetSeconds", JS_NewInt32(ctx, (int32_t)local.tm_gmtoff));
    return object;
}

static int count_bits(const unsigned char *bytes, size_t size)
{
    int count = 0;
    for (size_t at = 0; at < size; at++) {
        for (unsigned char rest = bytes[at]; rest; rest = (unsigned char)(rest & (rest - 1)))
            count++;
    }
    return count;
}

static void describe_address(JSContext *ctx, JSValue object, const struct ifaddrs *entry)
{
    char text[INET6_ADDRSTRLEN];
    int family = entry->ifa_addr ? entry->ifa_addr->sa_family : AF_UNSPEC;
    const unsigned char *address, *mask = NULL;
    size_t size;
    if (family == AF_INET) {
        address = (const void *)&((const struct sockaddr_in *)entry->ifa_addr)->sin_addr;
        size = 4;
        if (entry->ifa_netmask)
            mask = (const void *)&((const struct sockaddr_in *)entry->ifa_netmask)->sin_addr;
    } else if (family == AF_INET6) {
        address = (const void *)&((const struct sockaddr_in6 *)entry->ifa_addr)->sin6_addr;
        size = 16;
        if (entry->ifa_netmask)
            mask = (const void *)&((const struct sockaddr_in6 *)entry->ifa_netmask)->sin6_addr;
    } else {
        return;
    }
    if (!inet_ntop(family, address, text, sizeof(text)))
        return;
    JS_SetPropertyStr(ctx, object, "family", JS_NewString(ctx, family == AF_INET ? "ipv4" : "ipv6"));
    JS_SetPropertyStr(ctx, object, "address", JS_NewString(ctx, text));
    JS_SetPropertyStr(ctx, object, "prefix", JS_NewInt32(ctx, mask ? count_bits(mask, size) : 0));
}

static JSValue describe_interface(JSContext *ctx, int socket_fd, const struct ifaddrs *entry)
{
    struct ifreq request;
    JSValue object = JS_NewObject(ctx);
    if (JS_IsException(object))
        return object;
    JS_SetPropertyStr(ctx, object, "name", bytes_new(ctx, entry->ifa_name, strlen(entry->ifa_name)));
    memset(&request, 0, sizeof(request));
    strncpy(request.ifr_name, entry->ifa_name, IF_NAMESIZE - 1);
    if (!ioctl(socket_fd, SIOCGIFHWADDR, &request)) {
        const unsigned char *mac = (const unsigned char *)request.ifr_hwaddr.sa_data;
        char text[18];
        int length = snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
        JS_SetPropertyStr(ctx, object, "hardwareAddress", JS_NewStringLen(ctx, text, (size_t)length));
    }
    describe_address(ctx, object, entry);
    return object;
}

static JSValue host_interfaces(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv)
{
    struct ifaddrs *entries;
    (void)this_value;
    (void)argc;
    (void)argv;
    if (getifaddrs(&entries))
        return result_of(ctx, -1);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    JSValue list = JS_NewArray(ctx);
    uint32_t count = 0;
    for (const struct ifaddrs *entry = entries; entry && !JS_IsException(list); entry = entry->ifa_next) {
        JSValue item = describe_interface(ctx, fd, entry);
        if (JS_IsException(item) || JS_SetPropertyUint32(ctx, list, count++, item) < 0) {
            JS_FreeValue(ctx, list);
            list = JS_EXCEPTION;
        }
    }
    if (fd >= 0)
        close(fd);
    freeifaddrs(entries);
    return list;
}

const JSCFunctionListEntry host_functions[] = {
    JS_CFUNC_DEF("env", 1, host_env),
    JS_CFUNC_DEF("bootMs", 0, host_boot_ms),
    JS_CFUNC_DEF("realMicros", 0, host_real_micros),
    JS_CFUNC_DEF("unixName", 0, host_unix_name),
    JS_CFUNC_DEF("timeZone", 0, host_time_zone),
    JS_CFUNC_DEF("interfaces", 0, host_interfaces),
};
const int host_function_count = COUNT(host_functions);
