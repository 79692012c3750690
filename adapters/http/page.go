package httpapi

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"
)

const (
	defaultPage = 100 // items of a list that names no limit
	maxPage     = 1000
	maxCursor   = 5400 // bytes; of a name of 4,000 bytes it has 5,334
)

// paging is the part of a list that a request wants: at most limit items whose names come behind after.
type paging struct {
	limit int
	after string // "" is the beginning
}

// pageParams are the parameters of every list.
func pageParams() []param {
	return []param{
		inQuery("limit", "How many at most; 100 by default", 0, 50).within(1, maxPage),
		inQuery("cursor", "`next` of the page before", "", nil).within(1, maxCursor).of(formCursor),
	}
}

// formCursor is base64 as it stands in addresses, without padding.
func formCursor() form {
	return form{words: "the cursor of an earlier page", pattern: "^[A-Za-z0-9_-]+$", fits: func(s string) bool {
		_, err := base64.RawURLEncoding.Strict().DecodeString(s)
		return err == nil && s != ""
	}}
}

// pageAnswer is the answer of a list; value is its body, with a field "next".
func pageAnswer(value any) map[int]answer {
	return map[int]answer{http.StatusOK: {
		description: "A page of the list", body: jsonOf(value, nil),
		headers: []param{inHeader("Link", "The next page, if there is one (RFC 8288)", "", `</v1/queues?cursor=am9icw&limit=1>; rel="next"`)},
	}}
}

// readPaging reads ?limit= and ?cursor=.
func readPaging(c *gin.Context) (p paging, err error) {
	p.limit = defaultPage
	if text, ok := c.GetQuery("limit"); ok {
		if p.limit, err = strconv.Atoi(text); err != nil || p.limit < 1 || p.limit > maxPage {
			return p, badField("query.limit", "a whole number from 1 to "+strconv.Itoa(maxPage), text)
		}
	}
	if text, ok := c.GetQuery("cursor"); ok {
		name, err := base64.RawURLEncoding.Strict().DecodeString(text)
		if err != nil || len(name) == 0 || len(text) > maxCursor {
			return p, badField("query.cursor", "the cursor of an earlier page", text)
		}
		p.after = string(name)
	}
	return p, nil
}

// next returns the cursor of the page behind the item called last, and puts it into the answer's Link too. It must be called before the answer begins.
func (p paging) next(c *gin.Context, last string) string {
	cursor := base64.RawURLEncoding.EncodeToString([]byte(last))
	query := c.Request.URL.Query()
	query.Set("cursor", cursor)
	query.Set("limit", strconv.Itoa(p.limit))
	address := url.URL{Path: c.Request.URL.Path, RawPath: c.Request.URL.RawPath, RawQuery: query.Encode()}
	c.Header("Link", "<"+address.String()+`>; rel="next"`)
	return cursor
}

// pageOf takes the page out of a whole list, in the order of the names, and returns the next one's cursor, "" if it is the last. It may sort all. Names are unique.
func pageOf[T any](c *gin.Context, p paging, all []T, name func(T) string) (items []T, next string) {
	slices.SortFunc(all, func(a, b T) int { return strings.Compare(name(a), name(b)) })
	if p.after != "" {
		i, there := slices.BinarySearchFunc(all, p.after, func(item T, after string) int { return strings.Compare(name(item), after) })
		if there {
			i++
		}
		all = all[i:]
	}
	if len(all) <= p.limit {
		return all, ""
	}
	return all[:p.limit], p.next(c, name(all[p.limit-1]))
}
