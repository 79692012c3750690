package core

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	maxStreamName  = 255 // bytes, as JetStream has it
	maxDescription = 4096
	maxFilters     = 64         // subjects of one read or consumer
	maxSubjects    = 1000       // of a stream
	ownConsumers   = "_portico" // prefix of the consumers that the gateway makes for itself

	bucketPrefix = "KV_"
	objectPrefix = "OBJ_"
)

func quote(s string) string { return strconv.Quote(s) }

// checkName returns CodeInvalid for what cannot be the name of a stream or consumer.
func checkName(kind, name string) error {
	if name == "" || len(name) > maxStreamName {
		return Errorf(CodeInvalid, "%s name of %d bytes: want 1 to %d", kind, len(name), maxStreamName)
	}
	bad := func(c rune) bool {
		return c <= ' ' || c == 0x7f || strings.ContainsRune(`.*>/\`, c) || c == utf8.RuneError
	}
	if strings.ContainsFunc(name, bad) {
		return Errorf(CodeInvalid, "%s name %q: want no blanks, control characters, dots, wildcards and slashes", kind, name)
	}
	return nil
}

// checkBucket returns CodeInvalid for what cannot be the name of a bucket.
func checkBucket(name string) error {
	if name == "" || len(name) > maxStreamName-len(objectPrefix) {
		return Errorf(CodeInvalid, "bucket name of %d bytes: want 1 to %d", len(name), maxStreamName-len(objectPrefix))
	}
	for i := range len(name) {
		if !letter(name[i]) && name[i] != '_' && name[i] != '-' {
			return Errorf(CodeInvalid, "bucket name %q: want letters, digits, _ and -", name)
		}
	}
	return nil
}

func letter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' }

// checkFilters returns CodeInvalid unless all subjects are patterns and there are not too many.
func checkFilters(subjects []string) error {
	if len(subjects) > maxFilters {
		return Errorf(CodeInvalid, "subjects: %d of them, at most %d", len(subjects), maxFilters)
	}
	for _, p := range subjects {
		if err := checkPattern(p); err != nil {
			return err
		}
	}
	return nil
}

// checkDescription returns CodeInvalid for a text that is too long.
func checkDescription(text string) error {
	if len(text) > maxDescription || !utf8.ValidString(text) {
		return Errorf(CodeInvalid, "description of %d bytes: want at most %d, in UTF-8", len(text), maxDescription)
	}
	return nil
}

// ownStream tells whether a stream is the gateway's or the server's own business.
func ownStream(name string) bool { return strings.HasPrefix(name, ownStreams) }

// ownConsumer tells whether a consumer is one that the gateway made for itself.
func ownConsumer(name string) bool { return strings.HasPrefix(name, ownConsumers) }

// ofBucket tells whether a stream belongs to a bucket.
func ofBucket(name string) bool {
	return strings.HasPrefix(name, bucketPrefix) || strings.HasPrefix(name, objectPrefix)
}

// sortedNames orders names and leaves out those that come twice, as may be when a list was read in pages.
func sortedNames(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

// behind returns at most limit of the sorted names that come behind after and that keep wants.
func behind(names []string, after string, limit int, keep func(string) bool) []string {
	at, found := slices.BinarySearch(names, after)
	if found {
		at++
	}
	var some []string
	for _, name := range names[at:] {
		if len(some) == limit {
			break
		}
		if keep(name) {
			some = append(some, name)
		}
	}
	return some
}

// maxList bounds what one call lists.
const maxList = 1000

func checkLimit(limit int) error {
	if limit < 1 || limit > maxList {
		return Errorf(CodeInvalid, "limit %d: want 1 to %d", limit, maxList)
	}
	return nil
}
