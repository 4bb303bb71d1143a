/* Byte strings: the agent's TypeScript sees one character for each byte, whatever the encoding of a path or request. */
#include <errno.h>
#include <string.h>

#include "agent.h"

/* The engine hands strings out as UTF-8: there a byte above 127 is two. Anything above 255 is not a byte string; it is cut. */
static size_t narrow(char *out, const char *utf8, size_t length)
{
    size_t size = 0;
    for (size_t at = 0; at < length; at++) {
        unsigned char c = utf8[at];
        if (c < 0x80 || at + 1 >= length)
            out[size++] = c;
        else
            out[size++] = (char)((c << 6) | (utf8[++at] & 0x3f));
    }
    return size;
}

static int is_ascii(const char *data, size_t length)
{
    for (size_t at = 0; at < length; at++) {
        if ((unsigned char)data[at] >= 0x80)
            return 0;
    }
    return 1;
}

int bytes_borrow(JSContext *ctx, JSValueConst value, struct bytes *bytes)
{
    memset(bytes, 0, sizeof(*bytes));
    bytes->borrowed = JS_ToCStringLen(ctx, &bytes->length, value);
    if (!bytes->borrowed)
        return -1;
    bytes->data = bytes->borrowed;
    if (is_ascii(bytes->borrowed, bytes->length))
        return 0;
    bytes->copy = js_malloc(ctx, bytes->length + 1);
    if (!bytes->copy) {
        bytes_release(ctx, bytes);
        return -1;
    }
    bytes->length = narrow(bytes->copy, bytes->borrowed, bytes->length);
    bytes->copy[bytes->length] = '\0';
    bytes->data = bytes->copy;
    return 0;
}

void bytes_release(JSContext *ctx, struct bytes *bytes)
{
    if (bytes->borrowed)
        JS_FreeCString(ctx, bytes->borrowed);
    js_free(ctx, bytes->copy);
    memset(bytes, 0, sizeof(*bytes));
}

JSValue bytes_new(JSContext *ctx, const char *data, size_t length)
{
    if (is_ascii(data, length))
        return JS_NewStringLen(ctx, data, length);
    char *utf8 = js_malloc(ctx, 2 * length);
    if (!utf8)
        return JS_EXCEPTION;
    size_t size = 0;
    for (size_t at = 0; at < length; at++) {
        unsigned char c = data[at];
        if (c < 0x80) {
            utf8[size++] = (char)c;
        } else {
            utf8[size++] = (char)(0xc0 | (c >> 6));
            utf8[size++] = (char)(0x80 | (c & 0x3f));
        }
    }
    JSValue string = JS_NewStringLen(ctx, utf8, size);
    js_free(ctx, utf8);
    return string;
}

JSValue result_of(JSContext *ctx, long result)
{
    return JS_NewInt32(ctx, result < 0 ? -errno : (int32_t)result);
}
