/* Starts the engine with the little that the agent's script needs, gives it `sys`, and runs it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"

/* The script, compiled by the engine's own qjsc. */
extern const uint32_t agent_bytecode_size;
extern const uint8_t agent_bytecode[];

enum {
    /* A request is 1 MiB at most, and so are its parts; the rest is room for answers. */
    HEAP_BYTES = 32 << 20,
    STACK_BYTES = 512 << 10,
};

static void add_functions(JSContext *ctx, JSValue object)
{
    JS_SetPropertyFunctionList(ctx, object, file_functions, file_function_count);
    JS_SetPropertyFunctionList(ctx, object, wait_functions, wait_function_count);
    JS_SetPropertyFunctionList(ctx, object, storage_functions, storage_function_count);
    JS_SetPropertyFunctionList(ctx, object, host_functions, host_function_count);
    JS_SetPropertyFunctionList(ctx, object, process_functions, process_function_count);
}

static void add_sys(JSContext *ctx, int argc, char **argv)
{
    JSValue global = JS_GetGlobalObject(ctx);
    JSValue sys = JS_NewObject(ctx);
    JSValue args = JS_NewArray(ctx);
    for (int i = 1; i < argc; i++)
        JS_SetPropertyUint32(ctx, args, (uint32_t)(i - 1), bytes_new(ctx, argv[i], strlen(argv[i])));
    JS_SetPropertyStr(ctx, sys, "args", args);
    add_functions(ctx, sys);
    JS_SetPropertyStr(ctx, global, "sys", sys);
    JS_FreeValue(ctx, global);
}

/* A bug, or no memory left: says what it was and ends; the service manager starts the agent anew. */
static void report_exception(JSContext *ctx)
{
    JSValue exception = JS_GetException(ctx);
    const char *text = JS_ToCString(ctx, exception);
    fprintf(stderr, "virt-trim-agent: %s\n", text ? text : "unknown exception");
    JSValue stack = JS_IsObject(exception) ? JS_GetPropertyStr(ctx, exception, "stack") : JS_UNDEFINED;
    const char *where = JS_IsString(stack) ? JS_ToCString(ctx, stack) : NULL;
    if (where)
        fputs(where, stderr);
}

int main(int argc, char **argv)
{
    JSRuntime *runtime = JS_NewRuntime();
    JSContext *ctx = runtime ? JS_NewContextRaw(runtime) : NULL;
    if (!ctx)
        return 1;
    JS_SetMemoryLimit(runtime, HEAP_BYTES);
    JS_SetMaxStackSize(runtime, STACK_BYTES);
    JS_AddIntrinsicBaseObjects(ctx);
    JS_AddIntrinsicMapSet(ctx);
    signals_init();
    add_sys(ctx, argc, argv);
    JSValue script = JS_ReadObject(ctx, agent_bytecode, agent_bytecode_size, JS_READ_OBJ_BYTECODE);
    JSValue result = JS_IsException(script) ? script : JS_EvalFunction(ctx, script);
    if (JS_IsException(result))
        report_exception(ctx);
    return 1;
}
