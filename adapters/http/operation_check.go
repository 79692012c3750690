package httpapi

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"portico/core"

	"github.com/gin-gonic/gin"
)

// header is a header parameter under the name that http.Header has it by.
type header struct {
	key string
	*param
}

// checked is the middleware that holds a request against what its operation says of its parameters, before its handler or anything of its body is touched.
func (a *Adapter) checked(o *operation) gin.HandlerFunc {
	query := map[string]*param{}
	var path, required []*param
	var headers []header
	for i := range o.params {
		p := &o.params[i]
		switch p.in {
		case "query":
			query[p.name] = p
		case "header":
			headers = append(headers, header{http.CanonicalHeaderKey(p.name), p})
		case "path":
			path = append(path, p)
		}
		if p.required && p.in != "path" {
			required = append(required, p)
		}
	}
	lenient := o.lenient
	return func(c *gin.Context) {
		for _, p := range path {
			v := strings.TrimPrefix(c.Param(p.name), "/")
			if !p.octets && !plain(v) {
				a.fail(c, badField("path."+p.name, "a name in UTF-8 without control characters", strconv.QuoteToASCII(v)))
				return
			}
			if !p.fits(v) {
				a.fail(c, badField("path."+p.name, p.expects(), v))
				return
			}
		}
		if c.Request.URL.RawQuery != "" && !lenient {
			if err := checkQuery(c.Request.URL.RawQuery, query); err != nil {
				a.fail(c, err)
				return
			}
		}
		if err := checkHeaders(c.Request.Header, headers); err != nil {
			a.fail(c, err)
			return
		}
		for _, p := range required {
			if p.in == "query" && !c.Request.URL.Query().Has(p.name) || p.in == "header" && len(c.Request.Header.Values(p.name)) == 0 {
				a.fail(c, badField(p.in+"."+p.name, p.expects(), ""))
				return
			}
		}
	}
}

// checkQuery checks the query: no parameter that is not there, none twice, each as it should be.
func checkQuery(raw string, known map[string]*param) error {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return badField("query", "names and values, percent-encoded", raw)
	}
	for name, found := range values {
		p, ok := known[name]
		if !ok {
			return unknown("query."+strings.ToValidUTF8(name, "\uFFFD"), "parameter", knownNames(known))
		}
		if err := p.check("query", found); err != nil {
			return err
		}
	}
	return nil
}

func knownNames(known map[string]*param) string {
	if len(known) == 0 {
		return "none"
	}
	return "one of " + strings.Join(slices.Sorted(maps.Keys(known)), ", ")
}

// checkHeaders checks the headers that the operation names. Credentials stand once: of two nobody could say which was meant.
func checkHeaders(h http.Header, known []header) error {
	if n := len(h["Authorization"]); n > 1 {
		return badField("header.Authorization", "one value", strconv.Itoa(n)+" values")
	}
	for _, p := range known {
		if values := h[p.key]; len(values) > 0 {
			if err := p.check("header", values); err != nil {
				return err
			}
		}
	}
	return nil
}

// check checks the values of a parameter.
func (p *param) check(in string, values []string) error {
	field := in + "." + p.name
	if !p.repeats() && len(values) > 1 {
		return badField(field, "one value", strconv.Itoa(len(values))+" values")
	}
	for _, v := range values {
		if !plain(v) {
			return badField(field, "text in UTF-8 without control characters", strconv.QuoteToASCII(v))
		}
		if !p.fits(v) {
			return badField(field, p.expects(), v)
		}
	}
	return nil
}

// plain tells whether text is UTF-8 without control characters.
func plain(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// repeats tells whether the parameter may stand several times.
func (p *param) repeats() bool {
	_, list := p.value.([]string)
	return list
}

// fits tells whether v is a value of the parameter's type and within its bounds.
func (p *param) fits(v string) bool {
	if len(p.words) > 0 {
		return slices.Contains(p.words, v)
	}
	size, err := int64(len(v)), error(nil)
	switch p.value.(type) {
	case int, int32, int64, uint8, uint16, uint32, uint64:
		size, err = strconv.ParseInt(v, 10, 64)
	case time.Duration:
		var d time.Duration
		d, err = time.ParseDuration(v)
		size = int64(d)
	case bool:
		return v == "true" || v == "false"
	}
	if p.form.fits != nil && !p.form.fits(v) {
		return false
	}
	return err == nil && (p.most == 0 || size >= p.least && size <= p.most)
}

// expects says what the parameter should be.
func (p *param) expects() string {
	bounds := ""
	switch p.value.(type) {
	case int, int32, int64, uint8, uint16, uint32, uint64:
		if p.most != 0 {
			bounds = fmt.Sprintf(" from %d to %d", p.least, p.most)
		}
		return "a whole number" + bounds
	case time.Duration:
		if p.most != 0 {
			bounds = fmt.Sprintf(" from %s to %s", time.Duration(p.least), time.Duration(p.most))
		}
		return "a duration" + bounds + ", such as 2s"
	case bool:
		return "true or false"
	}
	if len(p.words) > 0 {
		return "one of " + strings.Join(p.words, ", ")
	}
	if p.form.words != "" {
		return p.form.words
	}
	if p.most != 0 {
		bounds = fmt.Sprintf(" of %d to %d bytes", p.least, p.most)
	}
	return "text" + bounds
}

// pathValues decodes the escaped path's values, in which a plus is a plus. What could be taken for a step in the path by somebody between is no name. A value that takes the
// rest of the path keeps the slash that it begins with.
func (a *Adapter) pathValues(c *gin.Context) {
	for i, p := range c.Params {
		value, err := url.PathUnescape(p.Value)
		if err != nil || value == "" || value == "/" {
			a.fail(c, badField("path."+p.Key, "a name, percent-encoded", p.Value))
			return
		}
		if steps(p.Value) {
			a.fail(c, badField("path."+p.Key, "a name other than . and ..", strconv.QuoteToASCII(value)))
			return
		}
		c.Params[i].Value = value
	}
}

// steps tells whether a part of an escaped path is a step to where one is, or up.
func steps(escaped string) bool {
	for part := range strings.SplitSeq(escaped, "/") {
		if name, err := url.PathUnescape(part); err != nil || name == "." || name == ".." {
			return true
		}
	}
	return false
}

// codesOf are the codes of an operation's problems: its own, and those that every operation may have.
func (o *operation) codesOf() []core.Code {
	codes := append([]core.Code{core.CodeInternal}, o.fails...)
	if !o.open {
		codes = append(codes, core.CodeUnauthenticated, core.CodePermissionDenied, core.CodeInvalid, core.CodeUnavailable)
	}
	if o.request != nil {
		codes = append(codes, core.CodeInvalid, core.CodeTooLarge, core.CodeTimeout, core.CodeResourceExhausted)
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}

// formSubject is where a message can go.
func formSubject() form {
	return form{
		words:   fmt.Sprintf("a subject of 1 to %d bytes: tokens between dots, none empty, no wildcards, blanks or control characters", maxSubject),
		pattern: `^[^\x00-\x20\x7f.*>]+(\.[^\x00-\x20\x7f.*>]+)*$`,
		fits:    func(s string) bool { return tokens(s, false) },
	}
}

// formPattern is what can be listened to.
func formPattern() form {
	return form{
		words:   fmt.Sprintf("a subject pattern of 1 to %d bytes: tokens between dots, none empty, * for one and > for the rest", maxSubject),
		pattern: `^(>|(\*|[^\x00-\x20\x7f.*>]+)(\.(\*|[^\x00-\x20\x7f.*>]+))*(\.>)?)$`,
		fits:    func(s string) bool { return tokens(s, true) },
	}
}

// formQueue is what a queue can be called.
func formQueue() form {
	return form{
		words:   fmt.Sprintf("a queue's name of 1 to %d bytes without NUL", maxName),
		pattern: `^[^\x00]+$`,
		fits:    func(s string) bool { return !strings.ContainsRune(s, 0) },
	}
}

// tokens tells whether s is a subject, or with wildcards a pattern, as core has them.
func tokens(s string, wildcards bool) bool {
	if len(s) > maxSubject {
		return false
	}
	rest, more := s, true
	for more {
		var token string
		token, rest, more = strings.Cut(rest, ".")
		wild := token == "*" || token == ">" && !more
		if token == "" || !(wild && wildcards) && strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '*' || r == '>' }) {
			return false
		}
	}
	return true
}
