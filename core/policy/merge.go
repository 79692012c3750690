package policy

import "slices"

// With returns the specification with two more lists of allows, as the keys publish and subscribe of a user have them. s may be nil.
func (s *Spec) With(publish, subscribe []string) *Spec {
	out := &Spec{}
	if s != nil {
		*out = *s
	}
	out.Publish.Allow = slices.Concat(out.Publish.Allow, publish)
	out.Subscribe.Allow = slices.Concat(out.Subscribe.Allow, subscribe)
	return out
}

// Must is New for a specification that New has taken before. Should it not take it now, the policy allows nothing.
func Must(user, tenant string, spec *Spec) *Policy {
	p, err := New(user, tenant, spec)
	if err == nil {
		return p
	}
	nothing := Lists{Deny: []string{">"}}
	every := Lists{Deny: []string{"*"}}
	none := map[string]Lists{"read": every, "write": every, "manage": every}
	p, _ = New(user, tenant, &Spec{Publish: nothing, Subscribe: nothing, Stream: none, Bucket: none, Roles: []string{RoleNone}})
	return p
}
