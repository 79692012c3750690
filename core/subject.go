package core

import (
	"strings"

	"portico/core/policy"
)

// maxSubject is the longest subject or pattern, in bytes. Two of them and the sizes must fit the bus protocol's control line.
const maxSubject = 4000

// inboxes is where answers go. Nothing published there is ever routed to a queue.
const inboxes = "_INBOX."

// reserved tells whether subject belongs to the bus itself: control subjects ($JS, $MQTT, $SYS …) and inboxes. Wildcards in a
// pattern's first token do not reach them, and queues are never fed from them.
func reserved(subject string) bool {
	return strings.HasPrefix(subject, "$") || strings.HasPrefix(subject, inboxes)
}

// checkSubject returns CodeInvalid unless subject may be published on: non-empty tokens between dots, no wildcards, no blanks or
// control characters, at most maxSubject bytes.
func checkSubject(subject string) error { return checkTokens("subject", subject, false) }

// checkPattern is checkSubject for what may be subscribed to: * stands for one token, > at the end for one or more.
func checkPattern(pattern string) error { return checkTokens("pattern", pattern, true) }

func checkTokens(kind, s string, wildcards bool) error {
	if s == "" || len(s) > maxSubject {
		return Errorf(CodeInvalid, "%s of %d bytes: want 1 to %d", kind, len(s), maxSubject)
	}
	start := 0
	for i := 0; i <= len(s); i++ {
		if i == len(s) || s[i] == '.' {
			if i == start {
				return Errorf(CodeInvalid, "%s %q has an empty token", kind, s)
			}
			start = i + 1
			continue
		}
		switch c := s[i]; {
		case c <= ' ' || c == 0x7f:
			return Errorf(CodeInvalid, "%s %q has a blank or control character", kind, s)
		case c != '*' && c != '>':
		case !wildcards:
			return Errorf(CodeInvalid, "%s %q has a wildcard", kind, s)
		case !wildcardAt(s, i):
			return Errorf(CodeInvalid, "%s %q: a wildcard is a token of its own, and > the last one", kind, s)
		}
	}
	return nil
}

// wildcardAt tells whether the wildcard at s[i] stands where it may.
func wildcardAt(s string, i int) bool {
	alone := (i == 0 || s[i-1] == '.') && (i+1 == len(s) || s[i+1] == '.')
	return alone && (s[i] == '*' || i+1 == len(s))
}

// hasWildcard tells whether a checked pattern has one.
func hasWildcard(pattern string) bool { return strings.ContainsAny(pattern, "*>") }

// cutToken splits s behind its first token; last tells that nothing follows.
func cutToken(s string) (token, rest string, last bool) {
	if i := strings.IndexByte(s, '.'); i >= 0 {
		return s[:i], s[i+1:], false
	}
	return s, "", true
}

// covers tells whether every subject that sub matches is matched by pattern too. sub may be a plain subject. A wildcard in
// pattern's first token does not cover what is reserved.
func covers(pattern, sub string) bool { return policy.Covers(pattern, sub) }
