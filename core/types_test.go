package core_test

import (
	"maps"
	"testing"

	"portico/core"
)

func TestTypesIn(t *testing.T) {
	mark := core.TypedValue{Letter: 'I', Name: "count", Text: "7"}.Mark()
	for name, test := range map[string]struct {
		marks []string
		want  map[string]byte
	}{
		"none":         {nil, nil},
		"two":          {[]string{mark, "t:a:b"}, map[string]byte{"count": 'I', "a:b": 't'}},
		"the last":     {[]string{"t:a", "x:a"}, map[string]byte{"a": 'x'}},
		"what is none": {[]string{"", ":", "t:", "tt:a", "a"}, map[string]byte{}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := core.TypesIn(core.Header{core.HeaderTypes: test.marks}); !maps.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}
