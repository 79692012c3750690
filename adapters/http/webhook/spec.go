package webhook

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Limits of a Spec.
const (
	maxName        = 64
	maxURL         = 2048
	maxSubjects    = 64
	maxConcurrency = 100
	maxAttempts    = 50
	maxRate        = 10_000
	maxHeaders     = 32 // configured ones, and names of message headers
	maxHeaderValue = 4096
	maxPauseAfter  = 1000

	maxTimeout = time.Minute
	maxStep    = 24 * time.Hour     // of the schedule, and of a pause
	maxSpan    = 6 * 24 * time.Hour // from the first attempt to the last: the log must still know the first
)

// defaultSchedule is the one that Standard Webhooks recommends.
func defaultSchedule() []int64 {
	var steps []int64
	for _, d := range []time.Duration{
		5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
	} {
		steps = append(steps, d.Milliseconds())
	}
	return steps
}

// Spec is what a user says of an endpoint. Times are in milliseconds.
type Spec struct {
	URL             string            `json:"url" required:"true" doc:"Where messages are sent: http or https, port 80, 443 or 1024 to 65535" example:"https://example.com/hook"`
	Subjects        []string          `json:"subjects" required:"true" doc:"Patterns, 1 to 64" minItems:"1" maxItems:"64"`
	Filter          Filter            `json:"filter,omitzero" doc:"Which messages are sent; all conditions must hold"`
	Ordered         bool              `json:"ordered" doc:"One at a time, in order: a message that waits for its next attempt holds up those behind it. True by default"`
	Concurrency     int               `json:"concurrency" doc:"Requests at once, if not ordered; 10 by default" minimum:"1" maximum:"100"`
	Timeout         int64             `json:"timeout" doc:"Of an attempt, in milliseconds; 15000 by default" minimum:"1000" maximum:"60000"`
	MaxAttempts     int               `json:"max_attempts" doc:"By default, and when it is 0, one more than the schedule has steps" minimum:"0" maximum:"50"`
	Schedule        []int64           `json:"schedule" doc:"Waits between attempts in milliseconds, ten percent more or less; the last one is repeated. By default that of Standard Webhooks" maxItems:"49" nullable:"false"`
	Rate            float64           `json:"rate,omitempty" doc:"Attempts a second; 0 is no limit" minimum:"0" maximum:"10000"`
	Headers         map[string]string `json:"headers,omitempty" doc:"Added to every request"`
	MessageHeaders  []string          `json:"message_headers,omitempty" doc:"The message's headers that are sent too, * for all; Content-Type, Content-Encoding, traceparent and tracestate always are" maxItems:"32"`
	DeadLetterQueue string            `json:"dead_letter_queue,omitempty" doc:"Where a message goes after its last attempt; it has to be there, and cannot change"`
	PauseAfter      int               `json:"pause_after" doc:"Failures in a row after which nothing is sent for a while; 0 is never, 10 the default" minimum:"0" maximum:"1000"`
	Pause           int64             `json:"pause" doc:"That while in milliseconds, 30000 by default. One attempt follows; if it fails too the next pause is twice as long, up to 32 times and a day" minimum:"1" maximum:"86400000"`
}

// Defaults are a Spec with everything that has a default.
func Defaults() Spec {
	return Spec{Ordered: true, Concurrency: 10, Timeout: 15_000, Schedule: defaultSchedule(), PauseAfter: 10, Pause: 30_000}
}

// complete fills in what follows from the rest.
func (s *Spec) complete() {
	if s.Schedule == nil {
		s.Schedule = defaultSchedule()
	}
	if s.MaxAttempts == 0 {
		s.MaxAttempts = len(s.Schedule) + 1
	}
}

// check returns CodeInvalid, with an Invalid, for what cannot be.
func (s *Spec) check(guard *guard) error {
	for _, n := range []struct {
		field              string
		value, least, most int64
	}{
		{"concurrency", int64(s.Concurrency), 1, maxConcurrency}, {"timeout", s.Timeout, 1000, maxTimeout.Milliseconds()},
		{"max_attempts", int64(s.MaxAttempts), 1, maxAttempts}, {"pause_after", int64(s.PauseAfter), 0, maxPauseAfter},
		{"pause", s.Pause, 1, maxStep.Milliseconds()},
	} {
		if n.value < n.least || n.value > n.most {
			return invalid(n.field, n.value, "a whole number from %d to %d", n.least, n.most)
		}
	}
	if s.Rate != 0 && !(s.Rate >= 0.001 && s.Rate <= maxRate) { // NaN is neither
		return invalid("rate", s.Rate, "0.001 to %d a second, or 0 for no limit", maxRate)
	}
	for _, check := range []func() error{
		func() error { return checkURL(s.URL, guard) }, s.checkSubjects, s.checkSchedule, s.checkHeaders, s.Filter.check,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	if len(s.DeadLetterQueue) > 255 {
		return invalid("dead_letter_queue", nil, "a name of at most 255 bytes")
	}
	return nil
}

func (s *Spec) checkSubjects() error {
	if len(s.Subjects) == 0 || len(s.Subjects) > maxSubjects {
		return invalid("subjects", len(s.Subjects), "1 to %d patterns", maxSubjects)
	}
	for i, pattern := range s.Subjects {
		if strings.HasPrefix(pattern, "$") || strings.HasPrefix(pattern, "_INBOX.") {
			return invalid(fmt.Sprintf("subjects[%d]", i), pattern, "a pattern that is not of the bus itself")
		}
		if slices.Contains(s.Subjects[:i], pattern) {
			return invalid(fmt.Sprintf("subjects[%d]", i), pattern, "each pattern once")
		}
	}
	return nil
}

func (s *Spec) checkSchedule() error {
	if len(s.Schedule) >= maxAttempts {
		return invalid("schedule", len(s.Schedule), "at most %d steps", maxAttempts-1)
	}
	if len(s.Schedule) == 0 && s.MaxAttempts > 1 {
		return invalid("schedule", nil, "at least one step for %d attempts", s.MaxAttempts)
	}
	for i, step := range s.Schedule {
		if step < 1 || step > maxStep.Milliseconds() {
			return invalid(fmt.Sprintf("schedule[%d]", i), step, "milliseconds from 1 to %d", maxStep.Milliseconds())
		}
	}
	var span time.Duration
	for n := 1; n < s.MaxAttempts; n++ {
		span += s.step(n)
	}
	if span > maxSpan {
		return invalid("schedule", span, "at most %v from the first attempt to the last", maxSpan)
	}
	return nil
}

// step is how long to wait after attempt n, from 1.
func (s *Spec) step(n int) time.Duration {
	if len(s.Schedule) == 0 {
		return 0
	}
	return time.Duration(s.Schedule[min(n, len(s.Schedule))-1]) * time.Millisecond
}

func (s *Spec) checkHeaders() error {
	if len(s.Headers) > maxHeaders || len(s.MessageHeaders) > maxHeaders {
		return invalid("headers", nil, "at most %d, and as many message_headers", maxHeaders)
	}
	for name, value := range s.Headers {
		switch {
		case !token(name) || ourHeader(name):
			return invalid("headers", name, "headers that neither HTTP nor the gateway sets")
		case len(value) > maxHeaderValue || !fieldValue(value):
			return invalid("headers", name, "a value that is one line of at most %d bytes", maxHeaderValue)
		}
	}
	for i, name := range s.MessageHeaders {
		if !token(name) {
			return invalid(fmt.Sprintf("message_headers[%d]", i), name, "the name of a header")
		}
	}
	return nil
}

// ourHeader tells whether a header of the request is set by the gateway or by HTTP itself.
func ourHeader(name string) bool {
	lower := strings.ToLower(name)
	switch lower {
	case "host", "content-length", "content-type", "content-encoding", "connection", "transfer-encoding", "te", "trailer", "upgrade", "keep-alive", "expect", "accept-encoding":
		return true
	}
	return strings.HasPrefix(lower, "webhook-") || strings.HasPrefix(lower, "portico-") || strings.HasPrefix(lower, "proxy-")
}

// token: the name of a header [RFC 9110 5.6.2].
func token(name string) bool {
	for i := range len(name) {
		c := name[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return name != "" && len(name) <= 128
}

// fieldValue: no control characters but the tab, and no white space around it.
func fieldValue(v string) bool {
	for i := range len(v) {
		if v[i] < 0x20 && v[i] != '\t' || v[i] == 0x7f {
			return false
		}
	}
	return v == strings.Trim(v, " \t")
}

// checkName: a name is part of two queues' names.
func checkName(name string) error {
	if name == "" || len(name) > maxName || strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") != "" {
		return invalid("name", name, "1 to %d letters, digits, _ and -", maxName)
	}
	return nil
}

// checkURL refuses what no request may go to whatever the name resolves to; addresses that names resolve to are checked when they are dialled.
func checkURL(text string, guard *guard) error {
	u, err := url.Parse(text)
	switch {
	case len(text) > maxURL || err != nil:
		return invalid("url", nil, "an address of at most %d bytes", maxURL)
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Opaque != "":
		return invalid("url", text, "http://… or https://…")
	case u.User != nil:
		return invalid("url", nil, "an address without user name and password: headers can carry them")
	case u.Fragment != "":
		return invalid("url", text, "an address without a fragment")
	}
	if port := u.Port(); port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n != 80 && n != 443 && n < 1024 {
			return invalid("url", text, "port 80, 443 or 1024 to 65535")
		}
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil && !guard.allows(ip) {
		return invalid("url", ip, "an address of the public internet")
	}
	return nil
}
