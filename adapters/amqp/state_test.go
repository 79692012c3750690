package amqp

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// unacked against a plain list.
func TestUnackedModel(t *testing.T) {
	k := &consumer{}
	rapid.Check(t, func(t *rapid.T) {
		var u unacked
		var model []uint64
		tag := uint64(0)
		take := func(t *rapid.T) {
			want, multiple := rapid.Uint64Range(0, tag+2).Draw(t, "tag"), rapid.Bool().Draw(t, "multiple")
			var got []uint64
			ok := u.take(want, multiple, func(d delivered) { got = append(got, d.tag) })
			i, found := slices.BinarySearch(model, want)
			var expected []uint64
			switch {
			case want == 0 && multiple:
				found, expected, model = true, model, nil
			case found && multiple:
				expected, model = model[:i+1], model[i+1:]
			case found:
				expected = []uint64{want}
				model = slices.Delete(slices.Clone(model), i, i+1)
			}
			if ok != found || !slices.Equal(got, expected) {
				t.Fatalf("take(%d, %t) = %t %v, want %t %v", want, multiple, ok, got, found, expected)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				for range rapid.IntRange(1, 100).Draw(t, "n") {
					tag += rapid.Uint64Range(1, 2).Draw(t, "step")
					u.push(delivered{tag: tag, to: k})
					model = append(model, tag)
				}
			},
			"take": take,
			"take many": func(t *rapid.T) {
				for range 50 {
					take(t)
				}
			},
			"take and restore": func(t *rapid.T) {
				var taken []delivered
				u.take(rapid.Uint64Range(0, tag+1).Draw(t, "tag"), true, func(d delivered) { taken = append(taken, d) })
				u.restore(taken)
			},
			"": func(t *rapid.T) {
				if u.len() != len(model) {
					t.Fatalf("len %d, want %d", u.len(), len(model))
				}
			},
		})
	})
}
