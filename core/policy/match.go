package policy

import "strings"

// inboxes is where answers go: everybody may publish and subscribe there.
const inboxes = "_INBOX."

// reserved tells whether a subject belongs to the bus itself; wildcards in the first token of an allow do not reach it.
func reserved(subject string) bool {
	return strings.HasPrefix(subject, "$") || strings.HasPrefix(subject, inboxes)
}

// wildFirst tells whether a pattern's first token is a wildcard.
func wildFirst(pattern string) bool { return strings.HasPrefix(pattern, "*") || pattern == ">" }

// Covers tells whether every subject that sub matches is matched by pattern too. sub may be a plain subject. A wildcard in pattern's first token does not cover what is reserved:
// subjects that begin with $, and inboxes.
func Covers(pattern, sub string) bool {
	return !(wildFirst(pattern) && reserved(sub)) && contains(pattern, sub)
}

// contains is Covers without that exception.
func contains(pattern, sub string) bool {
	for {
		p, prest, plast := cutToken(pattern)
		s, srest, slast := cutToken(sub)
		switch {
		case p == ">":
			return true
		case s == ">", p != "*" && p != s:
			return false
		case plast || slast:
			return plast && slast
		}
		pattern, sub = prest, srest
	}
}

// anyToken is a token that no pattern names.
const anyToken = "\x00"

// denies tells whether a deny refuses a subject or pattern: it contains it, the * of a deny standing for a > as well, as it does in the embedded server. What it contains in part is left out message by
// message.
func denies(pattern, sub string) bool {
	if head, ok := strings.CutSuffix(sub, ">"); ok && contains(pattern, head+anyToken) {
		return true
	}
	return contains(pattern, sub)
}

// Overlap tells whether some subject is matched by both patterns.
func Overlap(a, b string) bool {
	for {
		x, arest, alast := cutToken(a)
		y, brest, blast := cutToken(b)
		switch {
		case x == ">" || y == ">":
			return true
		case x != y && x != "*" && y != "*":
			return false
		case alast || blast:
			return alast && blast
		}
		a, b = arest, brest
	}
}

// intersect returns the pattern of what both match; ok is false for nothing.
func intersect(a, b string) (both string, ok bool) {
	if !Overlap(a, b) {
		return "", false
	}
	var out []string
	for {
		x, arest, alast := cutToken(a)
		y, brest, blast := cutToken(b)
		switch {
		case x == ">":
			return strings.Join(append(out, b), "."), true
		case y == ">":
			return strings.Join(append(out, a), "."), true
		case x == "*":
			out = append(out, y)
		default:
			out = append(out, x)
		}
		if alast && blast {
			return strings.Join(out, "."), true
		}
		a, b = arest, brest
	}
}

func cutToken(s string) (token, rest string, last bool) {
	if i := strings.IndexByte(s, '.'); i >= 0 {
		return s[:i], s[i+1:], false
	}
	return s, "", true
}

// matchName tells whether a name fits a pattern in which * stands for any run of characters.
func matchName(pattern, name string) bool {
	head, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == name
	}
	if !strings.HasPrefix(name, head) {
		return false
	}
	name = name[len(head):]
	for {
		part, more, star := strings.Cut(rest, "*")
		if !star {
			return strings.HasSuffix(name, part)
		}
		i := strings.Index(name, part)
		if i < 0 {
			return false
		}
		name, rest = name[i+len(part):], more
	}
}
