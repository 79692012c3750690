package httpapi

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"portico/core"

	"golang.org/x/sync/semaphore"
	"pgregory.net/rapid"
)

func TestBodyTakesMemoryAsItComes(t *testing.T) {
	const limit = 4 << 20
	for name, c := range map[string]struct {
		memory, length int64
		size           int
		code           core.Code
		refused        bool
	}{
		"empty":                       {memory: 0, length: 0},
		"small":                       {memory: 10, length: 10, size: 10},
		"several steps":               {memory: limit, length: 3<<20 + 1, size: 3<<20 + 1},
		"at the limit, untold":        {memory: limit + 1, length: -1, size: limit},
		"above the limit, untold":     {memory: limit + 1, length: -1, size: limit + 1, code: core.CodeTooLarge, refused: true},
		"memory full at once":         {memory: 9, length: 10, size: 10, code: core.CodeResourceExhausted, refused: true},
		"memory full on the way":      {memory: 2 * bodyStep, length: 3 << 20, size: 3 << 20, code: core.CodeResourceExhausted, refused: true},
		"announces much, sends none":  {memory: bodyStep, length: limit, code: core.CodeInvalid, refused: true},
		"shorter than it was told":    {memory: 10, length: 10, size: 9, code: core.CodeInvalid, refused: true},
		"empty, of untold length":     {memory: limit, length: -1},
		"several steps, of no length": {memory: limit, length: -1, size: 1 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			memory := semaphore.NewWeighted(c.memory)
			text := strings.Repeat("x", c.size)
			b := bodyReader{from: iotest.HalfReader(strings.NewReader(text)), memory: memory}
			err := b.read(c.length, limit)
			if c.refused != (err != nil) || c.refused && core.AsError(err).Code != c.code || !c.refused && string(b.body) != text {
				t.Errorf("%d bytes, %v", len(b.body), err)
			}
			if b.taken != int64(cap(b.body)) {
				t.Errorf("took %d for %d", b.taken, cap(b.body))
			}
			b.release()
			if !memory.TryAcquire(c.memory) {
				t.Error("memory was not given back")
			}
		})
	}
}

// TestHeadersRoundTrip: a user header comes back under its own name in lower case, whatever is in it, and nothing of a
// message can become a header of HTTP itself.
func TestHeadersRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`[!-9;-~]{1,40}`).Draw(t, "name")
		values := rapid.SliceOfN(rapid.StringMatching(`([!-~é]([ -~é]*[!-~é])?)?`), 1, 3).Draw(t, "values")
		lower := strings.ToLower(name)
		if _, known := properties[lower]; known || reserved(lower) || travels(lower) {
			t.Skip("not a user header")
		}
		out := http.Header{}
		setHeader(out, core.Header{name: values})
		if len(out) != 1 {
			t.Fatalf("header %v", out)
		}
		for n := range out {
			if !strings.HasPrefix(n, userPrefix) || strings.ContainsFunc(n, func(r rune) bool { return r > 0x7f || !isToken(byte(r)) }) {
				t.Fatalf("name %q", n)
			}
		}
		back, err := messageHeader(out)
		if err != nil || len(back) != 1 || !slices.Equal(back[lower], values) {
			t.Fatalf("%q came back as %v, %v", name, back, err)
		}
	})
}
