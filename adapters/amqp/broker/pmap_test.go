package broker

import (
	"fmt"
	"maps"
	"testing"

	"pgregory.net/rapid"
)

// contents reads m back through each and checks that it agrees with lookup.
func contents(t *rapid.T, m pmap[int], hash func(string) uint64) map[string]int {
	got := map[string]int{}
	m.each(func(key string, val int) {
		if _, twice := got[key]; twice {
			t.Fatalf("%q visited twice", key)
		}
		got[key] = val
		if v, ok := m.lookup(hash(key), key); !ok || v != val {
			t.Fatalf("lookup %q = %d, %v; each says %d", key, v, ok, val)
		}
	})
	if m.len() != len(got) {
		t.Fatalf("len %d, but %d entries", m.len(), len(got))
	}
	return got
}

func TestPmapAgreesWithMapAndKeepsOldVersions(t *testing.T) {
	hashes := map[string]func(string) uint64{
		"spread":      hashOf,
		"all equal":   func(string) uint64 { return 7 },
		"late differ": func(k string) uint64 { return uint64(len(k)) << 62 },
		"few":         func(k string) uint64 { return hashOf(k) % 5 * 0x0842108421084210 },
	}
	for name, hash := range hashes {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				var m, old pmap[int]
				model, oldModel := map[string]int{}, map[string]int{}
				for range rapid.IntRange(1, 80).Draw(t, "steps") {
					key := fmt.Sprintf("%0*d", rapid.IntRange(1, 3).Draw(t, "width"), rapid.IntRange(0, 30).Draw(t, "key"))
					switch rapid.IntRange(0, 4).Draw(t, "what") {
					case 0, 1, 2:
						val := rapid.Int().Draw(t, "val")
						m = m.insert(pslot[int]{hash: hash(key), key: key, val: val})
						model[key] = val
					case 3:
						m = m.remove(hash(key), key)
						delete(model, key)
					case 4:
						old, oldModel = m, maps.Clone(model)
					}
					if _, ok := m.lookup(hash("absent"), "absent"); ok {
						t.Fatal("found what was never put in")
					}
				}
				if got := contents(t, m, hash); !maps.Equal(got, model) {
					t.Fatalf("got %v, want %v", got, model)
				}
				if got := contents(t, old, hash); !maps.Equal(got, oldModel) {
					t.Fatalf("old version became %v, was %v", got, oldModel)
				}
			})
		})
	}
}

func TestPmapEmptiesToZero(t *testing.T) {
	var m pmap[int]
	for i := range 1000 {
		m = m.set(fmt.Sprint(i), i)
	}
	for i := range 1000 {
		m = m.without(fmt.Sprint(i))
	}
	if m.root != nil || m.len() != 0 {
		t.Fatalf("left over: %+v", m)
	}
}
