package core

import (
	"strings"
	"unicode/utf8"
)

// The codec between AMQP routing keys and subjects. A key is any bytes, words between dots, words may be empty; a subject has non-empty
// tokens without blanks, control characters and wildcards. Both are cut at the same dots, and each word becomes one token:
//
//	empty word                                       %_
//	control characters, blank, DEL, % * >, and
//	bytes that are not UTF-8                         %XX, upper-case hexadecimal
//	$ at the start of the first word                 %24, so that no key reaches the bus's own subjects
//	_INBOX as the whole first word                   %5FINBOX, likewise
//	everything else                                  itself
//
// No two keys have the same subject, and a subject is a key's image exactly if DecodeKey says ok. Keys that are plain words are
// their own subjects and cost no allocation.

const emptyWord = "%_"

const inboxWord = "_INBOX"

// EncodeKey returns the subject of a routing key. It always succeeds; the result is up to three times as long.
func EncodeKey(key string) string { return encodeWords(key, false) }

// DecodeKey returns the routing key whose subject this is. ok is false if it is no key's image (an unusual % in it, or a subject of the bus itself);
// key is then the subject as it stands.
func DecodeKey(subject string) (key string, ok bool) {
	if plainSubject(subject) {
		return subject, true
	}
	key, ok = decodeWords(subject)
	if !ok || EncodeKey(key) != subject {
		return subject, false
	}
	return key, true
}

// EncodeToken returns name as one subject token: EncodeKey, with dots written as %2E.
func EncodeToken(name string) string {
	if name == "" {
		return emptyWord
	}
	if plainSubject(name) && !strings.Contains(name, ".") {
		return name
	}
	var b strings.Builder
	b.Grow(len(name) + 8)
	encodeWord(&b, name, true, true)
	return b.String()
}

// DecodeToken returns the name that EncodeToken made this token of.
func DecodeToken(token string) (name string, ok bool) {
	if strings.Contains(token, ".") {
		return token, false
	}
	if plainSubject(token) {
		return token, true
	}
	name, ok = decodeWords(token)
	if !ok || EncodeToken(name) != token {
		return token, false
	}
	return name, true
}

// EncodePattern returns the subject patterns that together match every subject whose key the AMQP binding pattern matches: * is one word,
// # any number of words, none included. Behind a # that is not the last word the patterns are wider than the binding, and whoever routes must look again.
func EncodePattern(pattern string) []string {
	at, tail := cutHash(pattern)
	switch {
	case at < 0:
		return []string{encodeWords(pattern, true)}
	case at == 0:
		return []string{">"}
	}
	head := encodeWords(pattern[:at-1], true)
	if strings.Trim(tail, "#.") == "" && !strings.Contains(tail, "..") {
		return []string{head, head + ".>"} // none or more words follow
	}
	return []string{head + ".>"}
}

// cutHash returns where pattern's first word that is # begins, -1 if there is none, and what follows that word.
func cutHash(pattern string) (at int, tail string) {
	for {
		word, rest, last := cutToken(pattern[at:])
		if word == "#" {
			return at, rest
		}
		if last {
			return -1, ""
		}
		at += len(word) + 1
	}
}

// plainSubject tells whether s is both a key and its subject: no character that is coded, no empty word, nothing reserved.
func plainSubject(s string) bool {
	if s == "" || s[0] == '$' || s[0] == '_' && firstWord(s) == inboxWord {
		return false
	}
	for i, dot := 0, true; i < len(s); i++ {
		c := s[i]
		if coded(c) || c >= utf8.RuneSelf || c == '.' && (dot || i+1 == len(s)) {
			return false
		}
		dot = c == '.'
	}
	return true
}

func firstWord(s string) string {
	word, _, _ := cutToken(s)
	return word
}

func coded(c byte) bool { return c <= ' ' || c == 0x7f || c == '%' || c == '*' || c == '>' }

func encodeWords(key string, wildcards bool) string {
	if plainSubject(key) {
		return key
	}
	var b strings.Builder
	b.Grow(len(key) + 8)
	for rest, first := key, true; ; first = false {
		word, next, last := cutToken(rest)
		if wildcards && word == "*" {
			b.WriteByte('*')
		} else {
			encodeWord(&b, word, first, false)
		}
		if last {
			return b.String()
		}
		b.WriteByte('.')
		rest = next
	}
}

func encodeWord(b *strings.Builder, word string, first, dots bool) {
	if word == "" {
		b.WriteString(emptyWord)
		return
	}
	for i := 0; i < len(word); {
		c := word[i]
		if c < utf8.RuneSelf {
			if coded(c) || c == '.' && dots || i == 0 && first && (c == '$' || word == inboxWord) {
				encodeByte(b, c)
			} else {
				b.WriteByte(c)
			}
			i++
			continue
		}
		if r, n := utf8.DecodeRuneInString(word[i:]); r != utf8.RuneError || n > 1 {
			b.WriteString(word[i : i+n])
			i += n
			continue
		}
		encodeByte(b, c)
		i++
	}
}

const hexDigits = "0123456789ABCDEF"

func encodeByte(b *strings.Builder, c byte) {
	b.WriteByte('%')
	b.WriteByte(hexDigits[c>>4])
	b.WriteByte(hexDigits[c&15])
}

// decodeWords undoes every escape. The caller checks that the result leads back to the subject.
func decodeWords(subject string) (string, bool) {
	out := make([]byte, 0, len(subject))
	for i := 0; i < len(subject); i++ {
		if subject[i] != '%' {
			out = append(out, subject[i])
			continue
		}
		if strings.HasPrefix(subject[i:], emptyWord) {
			i++
			continue
		}
		if i+2 >= len(subject) {
			return "", false
		}
		hi, lo := strings.IndexByte(hexDigits, subject[i+1]), strings.IndexByte(hexDigits, subject[i+2])
		if hi < 0 || lo < 0 {
			return "", false
		}
		out = append(out, byte(hi<<4|lo))
		i += 2
	}
	return string(out), true
}
