/* What the parts of the native side share. The surface they give to TypeScript is described in guest/sys.ts. */
#ifndef VIRT_TRIM_AGENT_H
#define VIRT_TRIM_AGENT_H

#include <stddef.h>
#include <stdint.h>

#include "quickjs.h"

/* A JavaScript string that holds bytes (each character 0 to 255) as bytes with a NUL behind them. bytes_borrow returns -1 with
 * an exception pending; else bytes_release must follow. */
struct bytes {
    const char *data;
    size_t length;
    char *copy;
    const char *borrowed;
};
int bytes_borrow(JSContext *ctx, JSValueConst value, struct bytes *bytes);
void bytes_release(JSContext *ctx, struct bytes *bytes);
JSValue bytes_new(JSContext *ctx, const char *data, size_t length);

/* The result of a system call as sys.ts wants it: what it returned, or the negative errno. */
JSValue result_of(JSContext *ctx, long result);

extern const JSCFunctionListEntry file_functions[];
extern const int file_function_count;
extern const JSCFunctionListEntry wait_functions[];
extern const int wait_function_count;
extern const JSCFunctionListEntry storage_functions[];
extern const int storage_function_count;
extern const JSCFunctionListEntry host_functions[];
extern const int host_function_count;
extern const JSCFunctionListEntry process_functions[];
extern const int process_function_count;

/* Blocks the signals the loop takes, so that they only come while it waits. */
void signals_init(void);

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

#endif
