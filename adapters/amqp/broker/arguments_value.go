package broker

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// wholeNumber is v as an integer of any encoding, or why it is none.
func wholeNumber(v any) (int64, string) {
	n, ok := Integer(v)
	if !ok {
		return 0, quoted("expected integer, got %s", TypeName(v))
	}
	return n, ""
}

func countOf(v any) (int64, string) {
	n, why := wholeNumber(v)
	if why == "" && n < 0 {
		why = fmt.Sprintf("{value_negative,%d}", n)
	}
	return n, why
}

func expiryOf(v any) (int64, string) {
	n, why := countOf(v)
	if why == "" && n > maxExpiry {
		why = fmt.Sprintf("{value_too_large,%d}", n)
	}
	return n, why
}

func countInto(dst **int64, v any) string {
	n, why := countOf(v)
	*dst = &n
	return why
}

func textInto(dst **string, v any) string {
	s, ok := v.(string)
	if !ok {
		return unacceptable(v)
	}
	*dst = &s
	return ""
}

func isCount(v any) string {
	_, why := countOf(v)
	return why
}

func isSize(v any) string {
	n, why := countOf(v)
	if why == "" && n == 0 {
		why = "{value_zero,0}"
	}
	return why
}

func isQueueMode(v any) string {
	return oneOf(v, quoted("unsupported queue mode '%s'", text(v)), "default", "lazy")
}

func isQueueVersion(v any) string {
	n, why := countOf(v)
	if why == "" && n != 1 && n != 2 {
		why = quoted("unsupported queue version '%d'", n)
	}
	return why
}

func isLeaderLocator(v any) string {
	return oneOf(v, "invalid_queue_locator_arg", leaderLocators()...)
}

func leaderLocators() []string {
	return []string{"client-local", "balanced", "random", "least-leaders"}
}

// oneOf is why unless v is one of the strings.
func oneOf(v any, why string, allowed ...string) string {
	s, ok := v.(string)
	if !ok {
		return unacceptable(v)
	}
	if slices.Contains(allowed, s) {
		return ""
	}
	return why
}

func unacceptable(v any) string { return "{unacceptable_type," + TypeName(v) + "}" }

// quoted is how RabbitMQ prints a reason that is text.
func quoted(format string, args ...any) string { return `"` + fmt.Sprintf(format, args...) + `"` }

var maxAgePattern = regexp.MustCompile(`^([0-9]+)([YMDhms])$`)

// MaxAge reads an age as x-max-age has it, such as "7D", and tells whether it is one.
func MaxAge(s string) (time.Duration, bool) { return parseMaxAge(s) }

// parseMaxAge reads a number above 0 and a unit: years of 365 days, months of 30,
// days, hours, minutes, seconds.
func parseMaxAge(s string) (time.Duration, bool) {
	m := maxAgePattern.FindStringSubmatch(s)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		n = math.MaxInt64 // only out of range is left
	}
	unit := ageUnit(m[2])
	if n > int64(math.MaxInt64/unit) {
		return math.MaxInt64, true
	}
	return time.Duration(n) * unit, n > 0
}

func ageUnit(name string) time.Duration {
	const day = 24 * time.Hour
	switch name {
	case "Y":
		return 365 * day
	case "M":
		return 30 * day
	case "D":
		return day
	case "h":
		return time.Hour
	case "m":
		return time.Minute
	}
	return time.Second
}
