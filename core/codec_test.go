package core

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// anyKey draws keys with the characters that matter more often than chance would.
func anyKey() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		pieces := rapid.SliceOfN(rapid.OneOf(
			rapid.SampledFrom([]string{".", "..", "%", "%_", "%41", "%2", "*", ">", "#", "$", "$JS", "_INBOX", " ", "\t", "\r\n", "\x00", "\x7f", "é", "\xc3", "\xa9", "\xff", "日本", "a", "B", "_"}),
			rapid.StringN(0, 4, 8),
		), 0, 8).Draw(t, "pieces")
		return strings.Join(pieces, "")
	})
}

func TestEveryKeyHasASubjectOfItsOwn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := anyKey().Draw(t, "key")
		subject := EncodeKey(key)
		if err := checkSubject(subject); err != nil {
			t.Fatalf("EncodeKey(%q) = %q: %v", key, subject, err)
		}
		if reserved(subject) {
			t.Fatalf("EncodeKey(%q) = %q belongs to the bus", key, subject)
		}
		if got, ok := DecodeKey(subject); !ok || got != key {
			t.Fatalf("DecodeKey(EncodeKey(%q)) = %q, %v", key, got, ok)
		}
	})
}

func TestEverySubjectIsOneKeysOrNone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		subject := anyKey().Filter(func(s string) bool { return checkSubject(s) == nil }).Draw(t, "subject")
		key, ok := DecodeKey(subject)
		if !ok && key != subject {
			t.Fatalf("DecodeKey(%q) = %q, false: want the subject itself", subject, key)
		}
		if ok && EncodeKey(key) != subject {
			t.Fatalf("DecodeKey(%q) = %q, whose subject is %q", subject, key, EncodeKey(key))
		}
	})
}

func TestEveryNameIsATokenOfItsOwn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := anyKey().Draw(t, "name")
		token := EncodeToken(name)
		if strings.Contains(token, ".") || checkSubject(token) != nil || reserved(token+".x") {
			t.Fatalf("EncodeToken(%q) = %q is not a token", name, token)
		}
		if got, ok := DecodeToken(token); !ok || got != name {
			t.Fatalf("DecodeToken(EncodeToken(%q)) = %q, %v", name, got, ok)
		}
	})
}

func TestCodecByExample(t *testing.T) {
	for name, c := range map[string]struct{ key, subject string }{
		"plain":               {"orders.eu.created", "orders.eu.created"},
		"empty":               {"", "%_"},
		"one dot":             {".", "%_.%_"},
		"empty word":          {"a..b", "a.%_.b"},
		"leading dot":         {".a", "%_.a"},
		"blank":               {"a b", "a%20b"},
		"wildcards":           {"a.*.>", "a.%2A.%3E"},
		"hash is plain":       {"a.#", "a.#"},
		"percent":             {"100%", "100%25"},
		"not UTF-8":           {"\xff", "%FF"},
		"UTF-8":               {"café.日本", "café.日本"},
		"control subject":     {"$JS.API", "%24JS.API"},
		"dollar further on":   {"a.$b", "a.$b"},
		"inbox":               {"_INBOX.x", "%5FINBOX.x"},
		"nearly inbox":        {"_INBOXES.x", "_INBOXES.x"},
		"inbox as later word": {"a._INBOX", "a._INBOX"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := EncodeKey(c.key); got != c.subject {
				t.Errorf("EncodeKey(%q) = %q, want %q", c.key, got, c.subject)
			}
			if got, ok := DecodeKey(c.subject); !ok || got != c.key {
				t.Errorf("DecodeKey(%q) = %q, %v, want %q", c.subject, got, ok, c.key)
			}
		})
	}
	for _, subject := range []string{"a%41", "%", "a%2a", "%_x", "$SYS.x", "_INBOX.x", "%C3%A9"} {
		if key, ok := DecodeKey(subject); ok || key != subject {
			t.Errorf("DecodeKey(%q) = %q, %v, want it refused", subject, key, ok)
		}
	}
}

func TestPlainKeysCostNothing(t *testing.T) {
	key := strings.Repeat("orders.", 3) + "created"
	if n := testing.AllocsPerRun(100, func() {
		subject := EncodeKey(key)
		if _, ok := DecodeKey(subject); !ok {
			t.Fatal("not decoded")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestEncodePattern(t *testing.T) {
	for pattern, want := range map[string][]string{
		"a.b":     {"a.b"},
		"a.*":     {"a.*"},
		"a.#":     {"a", "a.>"},
		"#":       {">"},
		"#.b":     {">"},
		"a.#.b":   {"a.>"},
		"a.#.#":   {"a", "a.>"},
		"*.#":     {"*", "*.>"},
		"":        {"%_"},
		".#":      {"%_", "%_.>"},
		"a#.b*":   {"a#.b%2A"},
		"$x.#":    {"%24x", "%24x.>"},
		"a..#..b": {"a.%_.>"},
	} {
		if got := EncodePattern(pattern); !slices.Equal(got, want) {
			t.Errorf("EncodePattern(%q) = %q, want %q", pattern, got, want)
		}
	}
}

// amqpMatch is the topic exchange's rule, written as a regular expression over words that end with a dot.
func amqpMatch(pattern, key string) bool {
	var re strings.Builder
	re.WriteString(`(?s)^`)
	for word := range strings.SplitSeq(pattern, ".") {
		switch word {
		case "#":
			re.WriteString(`(?:[^.]*\.)*`)
		case "*":
			re.WriteString(`[^.]*\.`)
		default:
			re.WriteString(regexp.QuoteMeta(word + "."))
		}
	}
	return regexp.MustCompile(re.String() + `$`).MatchString(key + ".")
}

func TestPatternsReachEveryKeyTheyShould(t *testing.T) {
	word := rapid.SampledFrom([]string{"a", "b", "", "*", "#", "x y", "$s"})
	rapid.Check(t, func(t *rapid.T) {
		pattern := strings.Join(rapid.SliceOfN(word, 1, 5).Draw(t, "pattern"), ".")
		key := strings.Join(rapid.SliceOfN(word, 1, 5).Draw(t, "key"), ".")
		patterns := EncodePattern(pattern)
		reached := slices.ContainsFunc(patterns, func(p string) bool { return covers(p, EncodeKey(key)) })
		should := amqpMatch(pattern, key)
		if should && !reached {
			t.Fatalf("%q matches %q, but %q does not reach %q", pattern, key, patterns, EncodeKey(key))
		}
		if exact := !strings.Contains(strings.TrimSuffix(pattern, "#"), "#"); exact && reached && !should {
			t.Fatalf("%q does not match %q, but %q reaches %q", pattern, key, patterns, EncodeKey(key))
		}
	})
}
