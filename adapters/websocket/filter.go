package websocket

import (
	"encoding/json"
	"strings"
	"sync"
	"sync/atomic"
	"weak"

	"portico/core"
)

const (
	maxConditions = 16  // of a filter
	maxCondition  = 512 // bytes of a condition's name and value together
)

// filter chooses messages by their headers.
type filter struct {
	All []condition `json:"all,omitempty"` // each of these,
	Any []condition `json:"any,omitempty"` // and one of these if there are any
}

// condition is about one header. Exactly one of the rest is set.
type condition struct {
	Header  string  `json:"header"`
	Equal   *string `json:"equal,omitempty"`
	Prefix  *string `json:"prefix,omitempty"`
	Present *bool   `json:"present,omitempty"`
}

// check returns CodeInvalid for a filter that is none.
func (f *filter) check() error {
	if n := len(f.All) + len(f.Any); n == 0 || n > maxConditions {
		return core.Errorf(core.CodeInvalid, "a filter has 1 to %d conditions in all and any together", maxConditions)
	}
	for _, list := range [][]condition{f.All, f.Any} {
		for i := range list {
			if err := list[i].check(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *condition) check() error {
	set, size := 0, len(c.Header)
	for _, value := range []*string{c.Equal, c.Prefix} {
		if value != nil {
			set++
			size += len(*value)
		}
	}
	if c.Present != nil {
		set++
	}
	if c.Header == "" || set != 1 || size > maxCondition {
		return core.Errorf(core.CodeInvalid, "a condition has a header and one of equal, prefix and present, of at most %d bytes together", maxCondition)
	}
	return nil
}

// extras prepares what a subscription has beside its subject; end must be called when it has ended.
func (c *conn) extras(f *frame) (wanted *sharedFilter, end func(), err error) {
	wanted, err = c.adapter.filters.use(f.Filter)
	if err != nil {
		return nil, nil, err
	}
	return wanted, func() { c.adapter.filters.done(wanted) }, nil
}

// matches tells whether a message with these headers is wanted.
func (f *filter) matches(h core.Header) bool {
	for i := range f.All {
		if !f.All[i].holds(h) {
			return false
		}
	}
	for i := range f.Any {
		if f.Any[i].holds(h) {
			return true
		}
	}
	return len(f.Any) == 0
}

func (c *condition) holds(h core.Header) bool {
	values := h.Values(c.Header)
	if c.Present != nil {
		return (len(values) > 0) == *c.Present
	}
	for _, v := range values {
		if c.Equal != nil && v == *c.Equal || c.Prefix != nil && strings.HasPrefix(v, *c.Prefix) {
			return true
		}
	}
	return false
}

// filters are those in use, each once, however many subscriptions have it: what is published on a pattern goes to its subscribers one after the other, so that the last message's verdict is the
// next one's too.
type filters struct {
	mu   sync.Mutex
	used map[string]*sharedFilter // by their JSON; guarded by mu
}

// sharedFilter is a filter that remembers its last verdict.
type sharedFilter struct {
	// immutable
	filter *filter
	text   string

	last atomic.Pointer[verdict]
	uses int // guarded by filters.mu
}

type verdict struct {
	message weak.Pointer[core.Message] // it is not kept for this
	wanted  bool
}

// use returns the filter to share, nil for nil. done gives it back.
func (s *filters) use(f *filter) (*sharedFilter, error) {
	if f == nil {
		return nil, nil
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	text, err := json.Marshal(f)
	if err != nil {
		return nil, core.Errorf(core.CodeInvalid, "filter: %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	shared := s.used[string(text)]
	if shared == nil {
		shared = &sharedFilter{filter: f, text: string(text)}
		if s.used == nil {
			s.used = map[string]*sharedFilter{}
		}
		s.used[shared.text] = shared
	}
	shared.uses++
	return shared, nil
}

func (s *filters) done(f *sharedFilter) {
	if f == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.uses--; f.uses == 0 {
		delete(s.used, f.text)
	}
}

// wants tells whether a message passes; nil: all do.
func (f *sharedFilter) wants(m *core.Message) bool {
	if f == nil {
		return true
	}
	this := weak.Make(m)
	if v := f.last.Load(); v != nil && v.message == this {
		return v.wanted
	}
	v := &verdict{message: this, wanted: f.filter.matches(m.Header)}
	f.last.Store(v)
	return v.wanted
}
