package core

import (
	"context"

	"portico/core/policy"
)

// ResourceFor describes what an action is about to a policy, by its name alone. Of an exchange key is the routing key.
func ResourceFor(a policy.Action, name, key string) policy.Resource {
	r := policy.Resource{Name: name}
	switch a.Kind() {
	case policy.Subject:
		r.Key, _ = DecodeKey(name)
		if listening(a) {
			r.Key = bindingKey(name)
		}
	case policy.Queue:
		r.Subject = QueueSubject(name)
	case policy.Exchange:
		r.Key, r.ByTopic = key, true
		switch {
		case name == "":
		case name == policy.TopicExchange:
			r.Subject = EncodeKey(key)
		default:
			r.Subject = EncodeToken(name) + "." + EncodeKey(key)
		}
		if a == policy.ConfigureExchange || a == policy.BindExchange {
			r.Subject = EncodeToken(name) + "." + everything
		}
	}
	return r
}

// Explain tells what a user may do at a door, and by which rule. CodeNotFound.
func (p *People) Explain(user, door string, a policy.Action, r policy.Resource) (policy.Decision, error) {
	known, ok := p.gateway.users.User(user)
	if !ok {
		return policy.Decision{}, Errorf(CodeNotFound, "there is no user %q", user)
	}
	if a.Kind() == policy.Subject {
		r = p.gateway.tenant.owned(a, r)
	}
	return policy.Must(user, known.User.Tenant, known.User.Spec()).DecideAt(door, a, r), nil
}

// PutPermissions gives a managed user other permissions, in force at once; nil: none but its lists. Codes as Put's, and CodeNotFound.
func (p *People) PutPermissions(ctx context.Context, user string, spec *policy.Spec) error {
	_, err := p.change(ctx, user, func(u User) (User, error) {
		if u.Name == "" {
			return u, Errorf(CodeNotFound, "there is no user %q", user)
		}
		u.Permissions = spec
		return u, nil
	})
	return err
}
