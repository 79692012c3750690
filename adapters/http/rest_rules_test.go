package httpapi

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"portico/core"

	"github.com/gin-gonic/gin"
)

func TestEntityTags(t *testing.T) {
	for name, c := range map[string]struct {
		header []string
		tags   int
		any    bool
		bad    bool
	}{
		"none":               {nil, 0, false, false},
		"any":                {[]string{" * "}, 0, true, false},
		"one":                {[]string{`"7"`}, 1, false, false},
		"several":            {[]string{`"7", W/"8" ,"a,b"`}, 3, false, false},
		"in several lines":   {[]string{`"7"`, `"8"`}, 2, false, false},
		"empty":              {[]string{`""`}, 1, false, false},
		"without quotes":     {[]string{`7`}, 0, false, true},
		"not closed":         {[]string{`"7`}, 0, false, true},
		"with a blank":       {[]string{`"7 8"`}, 0, false, true},
		"nothing between":    {[]string{`"7" "8"`}, 0, false, true},
		"comma at the end":   {[]string{`"7",`}, 0, false, true},
		"too many":           {[]string{strings.Repeat(`"7",`, maxTags) + `"8"`}, 0, false, true},
		"any and another":    {[]string{`*, "7"`}, 0, false, true},
		"lower-case w is no": {[]string{`w/"7"`}, 0, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			list, err := tagsOf(http.Header{"If-Match": c.header}, "If-Match")
			if (err != nil) != c.bad || len(list.tags) != c.tags || list.any != c.any {
				t.Errorf("%+v %v", list, err)
			}
		})
	}
}

func TestConditions(t *testing.T) {
	for name, c := range map[string]struct {
		match, noneMatch string
		exists, hold     bool
		read             int
	}{
		"none":                          {"", "", false, true, 0},
		"match":                         {`"7"`, "", true, true, 0},
		"match, but there is none":      {`"7"`, "", false, false, 0},
		"match another":                 {`"8"`, "", true, false, 412},
		"match one of several":          {`"8","7"`, "", true, true, 0},
		"a weak tag matches nothing":    {`W/"7"`, "", true, false, 412},
		"match any":                     {`*`, "", true, true, 0},
		"match any, but there is none":  {`*`, "", false, false, 0},
		"none match any, there is none": {"", `*`, false, true, 304},
		"none match any":                {"", `*`, true, false, 304},
		"none match another":            {"", `"8"`, true, true, 0},
		"none match this":               {"", `"8", "7"`, true, false, 304},
		"none match this, weakly":       {"", `W/"7"`, true, false, 304},
		"both":                          {`"7"`, `"8"`, true, true, 0},
		"both, in vain":                 {`"7"`, `"7"`, true, false, 304},
	} {
		t.Run(name, func(t *testing.T) {
			var w conditions
			var err error
			if w.match, err = tagsOf(http.Header{"If-Match": headerOf(c.match)}, "If-Match"); err != nil {
				t.Fatal(err)
			}
			if w.noneMatch, err = tagsOf(http.Header{"If-None-Match": headerOf(c.noneMatch)}, "If-None-Match"); err != nil {
				t.Fatal(err)
			}
			if got := w.hold(c.exists, func() string { return `"7"` }); got != c.hold {
				t.Errorf("holds: %v", got)
			}
			if got := w.unread(`"7"`); got != c.read {
				t.Errorf("a read ends with %d, want %d", got, c.read)
			}
		})
	}
}

func headerOf(value string) []string {
	if value == "" {
		return nil
	}
	return []string{value}
}

func TestRanges(t *testing.T) {
	info := &core.ObjectInfo{Size: 10, ID: "v1"}
	whole := part{0, 10, false}
	for name, c := range map[string]struct {
		value, ifRange string
		want           part
		ok             bool
	}{
		"none":                      {"", "", whole, true},
		"first bytes":               {"bytes=0-3", "", part{0, 4, true}, true},
		"one byte":                  {"bytes=9-9", "", part{9, 1, true}, true},
		"to the end":                {"bytes=4-", "", part{4, 6, true}, true},
		"the last":                  {"bytes=-3", "", part{7, 3, true}, true},
		"more than all of the last": {"bytes=-30", "", part{0, 10, true}, true},
		"beyond the end":            {"bytes=8-30", "", part{8, 2, true}, true},
		"behind the end":            {"bytes=10-", "", part{}, false},
		"far behind the end":        {"bytes=99-100", "", part{}, false},
		"none of the last":          {"bytes=-0", "", part{}, false},
		"backwards":                 {"bytes=3-2", "", part{}, false},
		"nonsense":                  {"bytes=a-b", "", part{}, false},
		"a sign":                    {"bytes=+1-2", "", part{}, false},
		"empty":                     {"bytes=-", "", part{}, false},
		"no dash":                   {"bytes=5", "", part{}, false},
		"too large":                 {"bytes=99999999999999999999-", "", part{}, false},
		"several":                   {"bytes=0-1,4-5", "", whole, true},
		"another unit":              {"lines=0-1", "", whole, true},
		"if it is this one":         {"bytes=0-3", `"v1"`, part{0, 4, true}, true},
		"if it is another one":      {"bytes=0-3", `"v0"`, whole, true},
		"if it is this one, weakly": {"bytes=0-3", `W/"v1"`, whole, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := rangeOf(http.Header{"Range": headerOf(c.value), "If-Range": headerOf(c.ifRange)}, info)
			if ok != c.ok || ok && got != c.want {
				t.Errorf("%+v %v, want %+v %v", got, ok, c.want, c.ok)
			}
		})
	}
	if _, ok := rangeOf(http.Header{"Range": {"bytes=0-0"}}, &core.ObjectInfo{}); ok {
		t.Error("an empty object has a range")
	}
}

func TestDigests(t *testing.T) {
	const empty = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"
	for name, c := range map[string]struct {
		content, repr string
		given, bad    bool
	}{
		"none":               {"", "", false, false},
		"content":            {empty, "", true, false},
		"representation":     {"", empty, true, false},
		"both":               {empty, empty, true, false},
		"another algorithm":  {"sha-512=:AAAA:", "", false, false},
		"among others":       {"sha-512=:AAAA:, " + empty, "", true, false},
		"two that differ":    {empty, "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:", false, true},
		"too short":          {"sha-256=:AAAA:", "", false, true},
		"without its colons": {strings.ReplaceAll(empty, ":", ""), "", false, true},
		"not base64":         {"sha-256=:!!!!:", "", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			sum, err := digestIn(http.Header{"Content-Digest": headerOf(c.content), "Repr-Digest": headerOf(c.repr)})
			if (err != nil) != c.bad || (err == nil) && (sum != nil) != c.given {
				t.Errorf("%x %v", sum, err)
			}
		})
	}
}

func TestTicketsAreSealed(t *testing.T) {
	l := lease{[]byte(strings.Repeat("k", keySize)), "shop", "ann", "orders", "billing"}
	const ticket = "$JS.ACK.orders.billing.1.7.1.1700000000000000000.0"
	token := l.seal(ticket)
	if got, err := l.open(token); err != nil || got != ticket {
		t.Fatalf("%q %v", got, err)
	}
	others := map[string]lease{
		"tenant": {l.key, "shop2", "ann", "orders", "billing"}, "user": {l.key, "shop", "bob", "orders", "billing"},
		"stream": {l.key, "shop", "ann", "order", "sbilling"}, "consumer": {l.key, "shop", "ann", "orders", "billin"},
		"key": {[]byte(strings.Repeat("x", keySize)), "shop", "ann", "orders", "billing"},
	}
	for name, other := range others {
		if _, err := other.open(token); err == nil || core.AsError(err).Code != core.CodePreconditionFailed {
			t.Errorf("another %s opens it: %v", name, err)
		}
	}
	for name, bad := range map[string]string{"empty": "", "short": "AAAA", "no base64": "!" + token, "a seal alone": token[:21], "long": token + strings.Repeat("A", 4*maxTicket)} {
		if _, err := l.open(bad); err == nil || core.AsError(err).Code != core.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range token {
		changed := []byte(token)
		if changed[i]++; i == len(token)-1 {
			continue // its last bits mean nothing
		}
		if got, err := l.open(string(changed)); err == nil {
			t.Fatalf("changed at %d it opens as %q", i, got)
		}
	}
}

// What the store finds to be wrong at the end is never sent as a whole.
func TestRelayHoldsBack(t *testing.T) {
	gin.SetMode(gin.ReleaseMode)
	for name, size := range map[string]int{"nothing": 0, "less than a chunk": 10, "a chunk": relayChunk, "some chunks": 3 * relayChunk, "and a bit": 3*relayChunk + 7} {
		t.Run(name, func(t *testing.T) {
			text := bytes.Repeat([]byte("x"), size)
			wrong := errors.New("the digest does not fit")
			for _, end := range []error{io.EOF, wrong} {
				l := &line{header: http.Header{}}
				c, _ := gin.CreateTestContext(l)
				sent, err := (&Adapter{writeTimeout: time.Second}).relayed(c, io.MultiReader(bytes.NewReader(text), iotest.ErrReader(end)))
				if end == io.EOF && (err != nil || sent != int64(size) || len(l.take()) != size) {
					t.Errorf("%d bytes sent: %v", sent, err)
				}
				if end == wrong && (!errors.Is(err, wrong) || sent >= max(int64(size), 1)) {
					t.Errorf("%d of %d bytes sent: %v", sent, size, err)
				}
			}
		})
	}
}
