package policy_test

import (
	"fmt"
	"testing"

	"portico/core/policy"
)

func hundred() *policy.Spec {
	s := &policy.Spec{}
	for i := range 50 {
		s.Publish.Allow = append(s.Publish.Allow, fmt.Sprintf("orders.%d.*", i), fmt.Sprintf("news%d.>", i))
	}
	return s
}

// What a decision costs by 100 rules: of a subject that was decided on a moment ago, and of one that was not.
func BenchmarkDecide(b *testing.B) {
	p := made(b, hundred())
	subjects := make([]string, 4096)
	for i := range subjects {
		subjects[i] = fmt.Sprintf("orders.%d.%d", i%50, i)
	}
	b.Run("known", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if !p.Decide(policy.Publish, policy.Resource{Name: "orders.49.x"}).Allowed {
				b.Fatal("denied")
			}
		}
	})
	b.Run("known, in parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				p.Decide(policy.Publish, policy.Resource{Name: "orders.49.x"})
			}
		})
	})
	b.Run("new", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			if !p.Decide(policy.Publish, policy.Resource{Name: subjects[i%len(subjects)]}).Allowed {
				b.Fatal("denied")
			}
			i++
		}
	})
	b.Run("no rules", func(b *testing.B) {
		b.ReportAllocs()
		var open *policy.Policy
		for b.Loop() {
			open.Decide(policy.Publish, policy.Resource{Name: "orders.49.x"})
		}
	})
}

// A policy remembers decisions by action, and what it remembers is bounded.
func TestMemory(t *testing.T) {
	p := made(t, &policy.Spec{Publish: allows("a.>"), Subscribe: allows("b.>")})
	for range 2 {
		for i := range 5000 {
			s := fmt.Sprintf("a.%d", i)
			if !p.Decide(policy.Publish, policy.Resource{Name: s}).Allowed || p.Decide(policy.Subscribe, policy.Resource{Name: s}).Allowed {
				t.Fatalf("%s is decided wrongly", s)
			}
		}
	}
}
