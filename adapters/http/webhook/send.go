package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"portico/core"
)

const (
	maxResponse       = 64 << 10 // bytes of a response that are read
	maxResponseHeader = 64 << 10
	maxExcerpt        = 1 << 10 // bytes of it that are kept
	maxErrorText      = 256
	maxMessageHeaders = 64 // lines of them in a request
	maxHold           = 24 * time.Hour
	dialTimeout       = 10 * time.Second
	idlePerEndpoint   = 8
	idleTimeout       = 30 * time.Second
	userAgent         = "Portico-Webhooks"
)

// Attempt is one request and what came of it.
type Attempt struct {
	Number   int       `json:"attempt" doc:"From 1"`
	Time     time.Time `json:"time"`
	Status   int       `json:"status,omitempty" doc:"Of the response; 0: there was none"`
	Latency  int64     `json:"latency" doc:"Milliseconds"`
	Error    string    `json:"error,omitempty"`
	Response string    `json:"response,omitempty" doc:"The first 1 KiB of its body"`
	Result   Result    `json:"result" enum:"succeeded,retry,failed,gone"`
	Next     time.Time `json:"next,omitzero" doc:"When the next attempt may begin"`
	Hold     time.Time `json:"hold,omitzero" doc:"Until when the receiver wants to be left alone"`
}

// brief is a without what the receiver said: what is kept in memory.
func (a Attempt) brief() Attempt {
	a.Response = ""
	return a
}

// Result is what an attempt means for its message.
type Result string

// The results.
const (
	Succeeded Result = "succeeded" // 2xx
	Retry     Result = "retry"     // there will be another
	Failed    Result = "failed"    // it was the last one
	Gone      Result = "gone"      // 410: the endpoint is disabled, the message stays
)

// newTransport makes an endpoint's connections: no proxy, no redirects (nothing follows them), addresses checked when they are dialled.
func newTransport(g *guard) *http.Transport {
	dialer := &net.Dialer{Timeout: dialTimeout, Control: g.control}
	return &http.Transport{
		DialContext: dialer.DialContext, TLSHandshakeTimeout: dialTimeout, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
		MaxIdleConnsPerHost: idlePerEndpoint, MaxIdleConns: idlePerEndpoint, IdleConnTimeout: idleTimeout,
		MaxResponseHeaderBytes: maxResponseHeader, DisableCompression: true, ForceAttemptHTTP2: true,
	}
}

// send makes one request. The result is Succeeded, Gone or Retry; what follows from it is the caller's to say.
func send(ctx context.Context, via http.RoundTripper, d *definition, id string, m *core.Message) (a Attempt) {
	a = Attempt{Time: time.Now(), Result: Retry}
	defer func() { a.Latency = time.Since(a.Time).Milliseconds() }()
	ctx, cancel := context.WithTimeout(ctx, time.Duration(d.Timeout)*time.Millisecond)
	defer cancel()
	req, err := request(ctx, d, id, m, a.Time)
	if err != nil {
		a.Error = clip(err.Error(), maxErrorText)
		return a
	}
	res, err := via.RoundTrip(req)
	if err != nil {
		a.Error = told(ctx, err)
		return a
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(res.Body, maxResponse)) // the status has said it; what comes is for the log
	a.Status, a.Response = res.StatusCode, clip(strings.ToValidUTF8(string(body[:min(len(body), maxExcerpt)]), "\uFFFD"), maxExcerpt)
	switch {
	case a.Status/100 == 2:
		a.Result = Succeeded
	case a.Status == http.StatusGone:
		a.Result, a.Error = Gone, "the receiver wants no more of it"
	case a.Status/100 == 3:
		a.Error = "redirects are not followed"
	}
	if a.Status == http.StatusTooManyRequests || a.Status == http.StatusServiceUnavailable {
		a.Hold = holdUntil(res.Header.Get("Retry-After"), time.Now())
	}
	return a
}

// request makes the request of an attempt.
func request(ctx context.Context, d *definition, id string, m *core.Message, now time.Time) (*http.Request, error) {
	signed, err := signature(d.Secrets, id, now, m.Data)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.URL, bytes.NewReader(m.Data))
	if err != nil {
		return nil, err
	}
	h := req.Header
	h.Set("User-Agent", userAgent)
	for name, value := range d.Headers {
		h.Set(name, value)
	}
	setMessageHeaders(h, d.MessageHeaders, m.Header)
	h.Set("webhook-id", id)
	h.Set("webhook-timestamp", strconv.FormatInt(now.Unix(), 10))
	h.Set("webhook-signature", signed)
	if m.Subject != "" && fieldValue(m.Subject) {
		h.Set("portico-subject", m.Subject)
	}
	return req, nil
}

// setMessageHeaders adds the message's headers: some always, others by their names. What HTTP cannot carry is left out.
func setMessageHeaders(out http.Header, names []string, h core.Header) {
	for _, name := range []string{core.HeaderContentType, core.HeaderContentEncoding, "traceparent", "tracestate"} {
		if v := h.Get(name); v != "" && fieldValue(v) {
			out.Set(name, v)
		}
	}
	lines := 0
	for name, values := range h {
		target := requestName(name)
		if target == "" || !wanted(names, name) {
			continue
		}
		for _, v := range values {
			if fieldValue(v) && lines < maxMessageHeaders {
				lines++
				out.Add(target, v)
			}
		}
	}
}

func wanted(names []string, name string) bool {
	for _, n := range names {
		if n == "*" || strings.EqualFold(n, name) {
			return true
		}
	}
	return false
}

// requestName is what a message's header is called in a request, as in the answers of the HTTP door; "": it stays inside, or is there already.
func requestName(name string) string {
	lower := strings.ToLower(name)
	switch canonical := textproto.CanonicalMIMEHeaderKey(name); {
	case !token(name), canonical == core.HeaderAMQP, canonical == core.HeaderOrigin, canonical == headerID:
		return ""
	case canonical == core.HeaderContentType, canonical == core.HeaderContentEncoding, lower == "traceparent", lower == "tracestate", lower == "portico-subject":
		return ""
	case strings.HasPrefix(lower, "portico-"), strings.HasPrefix(lower, "ce-"), lower == "baggage":
		return name
	}
	return "Msg-" + name
}

// told is an error of the network in words for the log.
func told(ctx context.Context, err error) string {
	switch dns, _ := errors.AsType[*net.DNSError](err); {
	case errors.Is(err, errAddress):
		return errAddress.Error()
	case dns != nil:
		return "the name " + clip(dns.Name, maxErrorText/2) + " could not be resolved"
	case errors.Is(ctx.Err(), context.DeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	}
	return clip(strings.ToValidUTF8(err.Error(), "\uFFFD"), maxErrorText)
}

// clip cuts s to at most n bytes, between characters.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// holdUntil reads a Retry-After, seconds or a date: zero if it says nothing, at most a day from now.
func holdUntil(text string, now time.Time) time.Time {
	text = strings.TrimSpace(text)
	var until time.Time
	if seconds, err := strconv.ParseUint(text, 10, 63); err == nil {
		until = now.Add(time.Duration(min(seconds, uint64(maxHold/time.Second))) * time.Second)
	} else if at, err := http.ParseTime(text); err == nil {
		until = at
	}
	if !until.After(now) {
		return time.Time{}
	}
	if most := now.Add(maxHold); until.After(most) {
		return most
	}
	return until
}
