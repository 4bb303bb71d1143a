/* libFuzzer's side: the engine, the instrumented script, and its counters as coverage. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent.h"

extern const uint32_t fuzz_bytecode_size;
extern const uint8_t fuzz_bytecode[];

enum { COUNTERS = 4096, HEAP_BYTES = 64 << 20, STACK_BYTES = 4 << 20 };

__attribute__((section("__libfuzzer_extra_counters"))) static uint8_t counters[COUNTERS];

static JSContext *ctx;
static JSValue fuzz_one;

static void keep(JSRuntime *runtime, void *opaque, void *data)
{
    (void)runtime;
    (void)opaque;
    (void)data;
}

static JSValue is_plain(JSContext *context, JSValueConst self, int argc, JSValueConst *argv)
{
    (void)self;
    (void)argc;
    struct bytes bytes;
    if (bytes_borrow(context, argv[0], &bytes))
        return JS_EXCEPTION;
    size_t at = 0;
    while (at < bytes.length && (bytes.data[at] == '\n' || (bytes.data[at] >= 0x20 && bytes.data[at] <= 0x7e)))
        at++;
    int plain = at == bytes.length;
    bytes_release(context, &bytes);
    return JS_NewBool(context, plain);
}

static void die(void)
{
    JSValue exception = JS_GetException(ctx);
    const char *text = JS_ToCString(ctx, exception);
    JSValue stack = JS_IsObject(exception) ? JS_GetPropertyStr(ctx, exception, "stack") : JS_UNDEFINED;
    const char *where = JS_IsString(stack) ? JS_ToCString(ctx, stack) : NULL;
    fprintf(stderr, "%s\n%s\n", text ? text : "exception", where ? where : "");
    abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    JSRuntime *runtime = JS_NewRuntime();
    ctx = JS_NewContextRaw(runtime);
    JS_SetMemoryLimit(runtime, HEAP_BYTES);
    JS_SetMaxStackSize(runtime, STACK_BYTES);
    JS_AddIntrinsicBaseObjects(ctx);
    JS_AddIntrinsicMapSet(ctx);
    JS_AddIntrinsicTypedArrays(ctx);
    JSValue global = JS_GetGlobalObject(ctx);
    JSValue args[3] = { JS_NewArrayBuffer(ctx, counters, sizeof(counters), keep, NULL, 0), JS_UNDEFINED, JS_UNDEFINED };
    JS_SetPropertyStr(ctx, global, "__c", JS_NewTypedArray(ctx, 3, args, JS_TYPED_ARRAY_UINT8));
    JS_SetPropertyStr(ctx, global, "isPlain", JS_NewCFunction(ctx, is_plain, "isPlain", 1));
    JSValue script = JS_ReadObject(ctx, fuzz_bytecode, fuzz_bytecode_size, JS_READ_OBJ_BYTECODE);
    if (JS_IsException(script) || JS_IsException(JS_EvalFunction(ctx, script)))
        die();
    fuzz_one = JS_GetPropertyStr(ctx, global, "fuzzOne");
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    JSValue input = bytes_new(ctx, (const char *)data, size);
    JSValue result = JS_Call(ctx, fuzz_one, JS_UNDEFINED, 1, &input);
    if (JS_IsException(result))
        die();
    JS_FreeValue(ctx, input);
    return 0;
}
