package grpcapi

import (
	"slices"
	"strconv"
	"strings"

	"portico/core"
	porticov1 "portico/proto/portico/v1"
)

const maxFilters = 16

// filters are conditions that must all hold.
type filters []func(core.Header) bool

func newFilters(wanted []*porticov1.HeaderFilter) (filters, error) {
	if len(wanted) > maxFilters {
		return nil, badField("filters", "%d of them: at most %d", len(wanted), maxFilters)
	}
	all := make(filters, len(wanted))
	for i, f := range wanted {
		field := "filters[" + strconv.Itoa(i) + "]"
		if f.GetName() == "" {
			return nil, badField(field+".name", "it is required")
		}
		condition := conditionOf(f)
		if condition == nil {
			return nil, badField(field, "either equals, prefix or present is wanted")
		}
		all[i] = func(h core.Header) bool { return condition(h.Values(f.GetName())) }
	}
	return all, nil
}

// conditionOf is what must be true for a header's values; nil if nothing is said.
func conditionOf(f *porticov1.HeaderFilter) func(values []string) bool {
	switch c := f.GetCondition().(type) {
	case *porticov1.HeaderFilter_Equals:
		return func(values []string) bool { return slices.Contains(values, c.Equals) }
	case *porticov1.HeaderFilter_Prefix:
		return func(values []string) bool {
			return slices.ContainsFunc(values, func(v string) bool { return strings.HasPrefix(v, c.Prefix) })
		}
	case *porticov1.HeaderFilter_Present:
		return func(values []string) bool { return c.Present == (len(values) > 0) }
	}
	return nil
}

// let tells whether a message passes.
func (f filters) let(m *core.Message) bool {
	for _, holds := range f {
		if !holds(m.Header) {
			return false
		}
	}
	return true
}
