package httpapi

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
)

// maxTags is how many entity tags a condition may list.
const maxTags = 64

// entityTag is one entity tag [RFC 9110 8.8.3], without its quotes.
type entityTag struct {
	opaque string
	weak   bool
}

// tagList is the value of If-Match or If-None-Match.
type tagList struct {
	any  bool // *
	tags []entityTag
}

func (l tagList) given() bool { return l.any || len(l.tags) > 0 }

// names tells whether the tag (with its quotes) is in the list; weak ones count only if weakly [RFC 9110 8.8.3.2].
func (l tagList) names(tag string, weakly bool) bool {
	for _, t := range l.tags {
		if quoted(t.opaque) == tag && (weakly || !t.weak) {
			return true
		}
	}
	return false
}

func quoted(opaque string) string { return `"` + opaque + `"` }

// conditions are what must be true for a request to be carried out.
type conditions struct {
	match     tagList // If-Match
	noneMatch tagList // If-None-Match
}

func conditionsOf(c *gin.Context) (when conditions, err error) {
	if when.match, err = tagsOf(c.Request.Header, "If-Match"); err != nil {
		return when, err
	}
	when.noneMatch, err = tagsOf(c.Request.Header, "If-None-Match")
	return when, err
}

func (w conditions) given() bool { return w.match.given() || w.noneMatch.given() }

// hold tells whether a change may be made; tag is asked for only if something exists.
func (w conditions) hold(exists bool, tag func() string) bool {
	if w.match.given() && !(exists && (w.match.any || w.match.names(tag(), false))) {
		return false
	}
	return !(w.noneMatch.given() && exists && (w.noneMatch.any || w.noneMatch.names(tag(), true)))
}

// unread tells how a GET of what has this tag ends before it begins: 412, 304, or 0 for not at all.
func (w conditions) unread(tag string) int {
	switch {
	case w.match.given() && !w.match.any && !w.match.names(tag, false):
		return http.StatusPreconditionFailed
	case w.noneMatch.any || w.noneMatch.names(tag, true):
		return http.StatusNotModified
	}
	return 0
}

// tagsOf reads * or a list of entity tags.
func tagsOf(h http.Header, name string) (list tagList, err error) {
	text := strings.Trim(strings.Join(h.Values(name), ","), " \t")
	if text == "*" {
		return tagList{any: true}, nil
	}
	whole := text
	for text != "" {
		tag, rest, ok := cutTag(text)
		if !ok || len(list.tags) == maxTags {
			return tagList{}, badField("header."+name, `* or up to 64 entity tags in quotes, such as "7"`, whole)
		}
		list.tags = append(list.tags, tag)
		text = rest
	}
	return list, nil
}

// cutTag takes the first entity tag off a list.
func cutTag(text string) (tag entityTag, rest string, ok bool) {
	text, tag.weak = strings.CutPrefix(text, "W/")
	text, ok = strings.CutPrefix(text, `"`)
	if !ok {
		return tag, "", false
	}
	tag.opaque, rest, ok = strings.Cut(text, `"`)
	if !ok || strings.ContainsFunc(tag.opaque, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return tag, "", false
	}
	rest = strings.TrimLeft(rest, " \t")
	if rest == "" {
		return tag, "", true
	}
	rest, ok = strings.CutPrefix(rest, ",")
	rest = strings.TrimLeft(rest, " \t")
	return tag, rest, ok && rest != ""
}

// tagOf is the strong entity tag of a configuration: of the JSON that clients see of it.
func tagOf(config any) string {
	b, err := json.Marshal(config)
	if err != nil {
		b = nil // no type of ours fails
	}
	sum := sha256.Sum256(b)
	return quoted(hex.EncodeToString(sum[:12]))
}
