package identity

import (
	"slices"
	"strings"

	"portico/core/policy"
)

// Claims say where in an issuer's tokens something stands. A dot leads into an object: realm_access.roles.
type Claims struct {
	User      string // a name; "": sub
	Tenant    string // "": none, the default tenant
	Roles     string // a list, or words; "": roles
	Publish   string // a list of subject patterns; "": none
	Subscribe string // likewise
	Scopes    string // a list, or words: what RabbitMQ's scopes say; "": scope
}

// maxClaim bounds how many values of a list are taken.
const maxClaim = 512

// nothing is a pattern that covers no subject: a list of it alone allows nothing.
const nothing = "$nothing"

// identity is who a token's claims say it is. A token that says nothing of permissions has those of the issuer's configuration.
func (i *issuer) identity(claims map[string]any) (*Identity, error) {
	c := i.Claims
	name := text(claims, orElse(c.User, "sub"))
	if name == "" || len(name) > MaxName || strings.ContainsFunc(name, control) {
		return nil, badToken("the token names no user (%s)", orElse(c.User, "sub"))
	}
	tenant := ""
	if c.Tenant != "" {
		if tenant = text(claims, c.Tenant); tenant == "" {
			return nil, badToken("the token names no tenant (%s)", c.Tenant)
		}
	}
	spec, err := i.spec(claims, tenant)
	if err != nil {
		return nil, err
	}
	p, err := policy.New(name, tenant, spec)
	if err != nil {
		return nil, &BadTokenError{Detail: "the token's permissions cannot be read: " + err.Error(), Err: err}
	}
	return &Identity{Name: name, Tenant: tenant, Roles: spec.Roles, Permissions: p}, nil
}

// spec are the permissions in the claims. What they do not mention is not allowed: that a token has no list must not mean everything.
func (i *issuer) spec(claims map[string]any, tenant string) (*policy.Spec, error) {
	c, spec := i.Claims, &policy.Spec{}
	publish, subscribe := words(claims, c.Publish), words(claims, c.Subscribe)
	scopes, tags := rabbitScopes(words(claims, orElse(c.Scopes, "scope")), i.ScopePrefix, orElse(tenant, "/"))
	switch {
	case len(publish)+len(subscribe) > 0:
		spec.Publish.Allow, spec.Subscribe.Allow = orNothing(publish), orNothing(subscribe)
	case scopes == nil && i.Permissions != nil:
		*spec = *i.Permissions
	case scopes == nil:
		none := []string{nothing}
		spec.Publish.Allow, spec.Subscribe.Allow = none, none
	}
	if scopes != nil {
		spec.AMQP, spec.Topics = scopes.AMQP, scopes.Topics
	}
	spec.Roles = slices.Clone(spec.Roles)
	for _, role := range slices.Concat(words(claims, orElse(c.Roles, "roles")), tags) {
		if known(role) && !slices.Contains(spec.Roles, role) {
			spec.Roles = append(spec.Roles, role)
		}
	}
	slices.Sort(spec.Roles)
	return spec, nil
}

// known tells whether a role means something here: issuers have others of their own.
func known(role string) bool {
	_, err := policy.New("", "", &policy.Spec{Roles: []string{role}})
	return err == nil
}

func orNothing(list []string) []string {
	if len(list) == 0 {
		return []string{nothing}
	}
	return list
}

func orElse(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

// claim finds what stands at a path: under the whole of it, or through objects.
func claim(claims map[string]any, path string) any {
	if path == "" {
		return nil
	}
	if v, ok := claims[path]; ok {
		return v
	}
	head, tail, more := strings.Cut(path, ".")
	if inner, ok := claims[head].(map[string]any); ok && more {
		return claim(inner, tail)
	}
	return nil
}

func text(claims map[string]any, path string) string {
	s, _ := claim(claims, path).(string)
	return s
}

// words is a list of text, or the words of a text.
func words(claims map[string]any, path string) (all []string) {
	switch v := claim(claims, path).(type) {
	case string:
		all = strings.Fields(v)
	case []any:
		for _, item := range v {
			if s, ok := item.(string); ok && s != "" {
				all = append(all, s)
			}
		}
	}
	return all[:min(len(all), maxClaim)]
}
