package amqp

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"portico/core"
)

// Pages of a list, as RabbitMQ's management API has them.
const (
	defaultPage = 100
	maxPage     = 500
	maxFilter   = 1024 // bytes of a name to filter by
)

// page is a part of a list.
type page[T any] struct {
	Items         []T `json:"items"`
	ItemCount     int `json:"item_count"`
	FilteredCount int `json:"filtered_count"`
	TotalCount    int `json:"total_count"`
	Page          int `json:"page"`
	PageCount     int `json:"page_count"`
	PageSize      int `json:"page_size"`
}

// listed answers with a list: all of it, or with ?page=N a page of page_size items whose name holds name, or with use_regex matches it.
func listed[T any](c *call, all []T, name func(T) string) (status int, answer any, err error) {
	query := c.http.URL.Query()
	if !query.Has("page") {
		return http.StatusOK, all, nil
	}
	number, err := pageNumber("page", query.Get("page"), 1, len(all)+1)
	if err != nil {
		return 0, nil, err
	}
	size := defaultPage
	if query.Has("page_size") {
		if size, err = pageNumber("page_size", query.Get("page_size"), 1, maxPage); err != nil {
			return 0, nil, err
		}
	}
	matches, err := nameFilter(query.Get("name"), query.Get("use_regex") == "true")
	if err != nil {
		return 0, nil, err
	}
	kept := make([]T, 0, len(all))
	for _, item := range all {
		if matches(name(item)) {
			kept = append(kept, item)
		}
	}
	p := page[T]{FilteredCount: len(kept), TotalCount: len(all), Page: number, PageSize: size, PageCount: max((len(kept)+size-1)/size, 1)}
	if number > p.PageCount {
		return 0, nil, core.Errorf(core.CodeInvalid, "page %d is out of range, there are %d", number, p.PageCount)
	}
	p.Items = kept[(number-1)*size : min(number*size, len(kept))]
	p.ItemCount = len(p.Items)
	return http.StatusOK, p, nil
}

func pageNumber(what, text string, least, most int) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, core.Errorf(core.CodeInvalid, "%s %q: a number from %d to %d is expected", what, text, least, most)
	}
	return n, nil
}

// nameFilter tells which names are wanted; Go's regular expressions take linear time.
func nameFilter(text string, pattern bool) (func(string) bool, error) {
	if len(text) > maxFilter {
		return nil, core.Errorf(core.CodeInvalid, "a name to filter by has at most %d bytes", maxFilter)
	}
	if !pattern {
		return func(name string) bool { return strings.Contains(name, text) }, nil
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, core.Errorf(core.CodeInvalid, "name is no regular expression: %v", err)
	}
	return re.MatchString, nil
}
