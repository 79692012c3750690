package httpapi

import (
	"net/http"
	"time"

	"portico/core"
)

const tagUsers = "users"

// userConfig is a user as administrators write it.
type userConfig struct {
	Password     string            `json:"password,omitempty" doc:"Kept as a hash. With neither it nor password_hash the one that the user has stays" maxLength:"1024"`
	PasswordHash string            `json:"password_hash,omitempty" doc:"bcrypt, argon2id in the PHC string format, or RabbitMQ's salted SHA-256 or SHA-512" maxLength:"512"`
	Algorithm    string            `json:"hashing_algorithm,omitempty" doc:"RabbitMQ's name of how password_hash was made" enum:"rabbit_password_hashing_sha256,rabbit_password_hashing_sha512"`
	NKeys        []string          `json:"nkeys,omitempty" doc:"Public NKeys (U…) by which NATS clients come in" maxItems:"16"`
	Certificates []string          `json:"certificates,omitempty" doc:"Names in client certificates, beside the user's own" maxItems:"16"`
	Roles        []string          `json:"roles,omitempty" doc:"Such as administrator and monitoring" maxItems:"64"`
	Disabled     bool              `json:"disabled,omitempty" doc:"May not log in"`
	Tenant       string            `json:"tenant,omitempty" doc:"Whose connections lead to when they say nothing of it; empty: the default one" maxLength:"100"`
	Tenants      []string          `json:"tenants,omitempty" doc:"Others that the user may enter; * is all" maxItems:"256"`
	Publish      []string          `json:"publish,omitempty" doc:"Subject patterns; none: all" maxItems:"1024"`
	Subscribe    []string          `json:"subscribe,omitempty" doc:"Subject patterns; none: all" maxItems:"1024"`
	Permissions  *core.Permissions `json:"permissions,omitempty" doc:"Beside those two lists"`
}

func (u *userConfig) core(name string) core.User {
	return core.User{
		Name: name, Password: u.Password, PasswordHash: u.PasswordHash, Algorithm: u.Algorithm, Keys: u.NKeys, Certificates: u.Certificates, Roles: u.Roles, Disabled: u.Disabled,
		Tenant: u.Tenant, Tenants: u.Tenants, Publish: u.Publish, Subscribe: u.Subscribe, Permissions: u.Permissions,
	}
}

// userShown is a user as it is told: never with a password or its hash.
type userShown struct {
	Name         string            `json:"name" example:"ann"`
	Configured   bool              `json:"configured" doc:"By the configuration file; then it cannot be changed or deleted here"`
	Password     bool              `json:"password" doc:"There is one"`
	NKeys        []string          `json:"nkeys,omitempty"`
	Certificates []string          `json:"certificates,omitempty"`
	Roles        []string          `json:"roles,omitempty"`
	Disabled     bool              `json:"disabled,omitempty"`
	Tenant       string            `json:"tenant,omitempty"`
	Tenants      []string          `json:"tenants,omitempty"`
	Publish      []string          `json:"publish,omitempty"`
	Subscribe    []string          `json:"subscribe,omitempty"`
	Permissions  *core.Permissions `json:"permissions,omitempty"`
}

func userShownOf(p core.Person) userShown {
	return userShown{
		Name: p.Name, Configured: !p.Managed, Password: p.Secret, NKeys: p.Keys, Certificates: p.Certificates, Roles: p.Roles, Disabled: p.Disabled,
		Tenant: p.Tenant, Tenants: p.Tenants, Publish: p.Publish, Subscribe: p.Subscribe, Permissions: p.Permissions,
	}
}

type userList struct {
	Items []userShown `json:"items"`
	Next  string      `json:"next,omitempty" doc:"Where the next page begins; none: there is none"`
}

// tokenConfig is a token as administrators ask for it.
type tokenConfig struct {
	Label   string `json:"label,omitempty" doc:"What it is for" maxLength:"256"`
	Seconds int64  `json:"expires_in,omitempty" doc:"Seconds until it ends; 0: it does not end by itself" minimum:"0" maximum:"315360000"`
}

// tokenShown is a token as it is told.
type tokenShown struct {
	ID      string     `json:"id" example:"k3jx7q2mzw5a"`
	Label   string     `json:"label,omitempty"`
	Created time.Time  `json:"created"`
	Expires *time.Time `json:"expires,omitempty" doc:"None: it does not end by itself"`
}

// tokenMade is a token with its secret.
type tokenMade struct {
	tokenShown
	Token string `json:"token" doc:"What the bearer shows. It is told this once" example:"ptk_…"`
}

type tokenList struct {
	Items []tokenShown `json:"items"`
}

func tokenShownOf(t core.Token) tokenShown {
	out := tokenShown{ID: t.ID, Label: t.Label, Created: t.Created}
	if !t.Expires.IsZero() {
		out.Expires = &t.Expires
	}
	return out
}

// userOperations are those of users and their tokens, for administrators.
func (a *Adapter) userOperations() []operation {
	name := inPath("user", "The user's name, percent-encoded", "ann").within(1, 1024)
	shown := jsonOf(userShown{}, nil)
	example := userConfig{Password: "a long one", Publish: []string{"orders.>"}, Subscribe: []string{"news.>"}}
	changed := forAdministrators(core.CodeNotFound, core.CodePreconditionFailed, core.CodeResourceExhausted, core.CodeTimeout)
	return []operation{
		{
			id: "listUsers", method: http.MethodGet, path: "/v1/users", tag: tagUsers, handle: a.listUsers, params: pageParams(),
			summary: "List users", description: "By name, those of the configuration too. For administrators, as all of these.", answers: pageAnswer(userList{}), fails: forAdministrators(),
		},
		{
			id: "getUser", method: http.MethodGet, path: "/v1/users/{user}", tag: tagUsers, handle: a.getUser, params: []param{name},
			summary: "Describe a user", answers: okJSON("The user", userShown{}, nil), fails: forAdministrators(core.CodeNotFound),
		},
		{
			id: "putUser", method: http.MethodPut, path: "/v1/users/{user}", tag: tagUsers, handle: a.putUser, params: []param{name},
			summary: "Create or change a user", request: jsonOf(userConfig{}, example),
			description: "What is left out is empty, the password excepted. With another password those who are in by the old one are ended; other permissions are in force at once. " +
				"The first user there is, and whoever is left, must be an administrator.",
			answers: map[int]answer{http.StatusOK: {description: "It was there, and has these properties now", body: shown}, http.StatusCreated: {description: "It was created", body: shown}},
			fails:   changed,
		},
		{
			id: "deleteUser", method: http.MethodDelete, path: "/v1/users/{user}", tag: tagUsers, handle: a.deleteUser, params: []param{name},
			summary: "Delete a user", description: "With its tokens. Those who are in by it are ended.", answers: noContent("It is gone"), fails: changed,
		},
		{
			id: "listTokens", method: http.MethodGet, path: "/v1/users/{user}/tokens", tag: tagUsers, handle: a.listTokens, params: []param{name},
			summary: "List a user's tokens", answers: okJSON("The tokens, without what their bearers show", tokenList{}, nil), fails: forAdministrators(core.CodeNotFound),
		},
		{
			id: "createToken", method: http.MethodPost, path: "/v1/users/{user}/tokens", tag: tagUsers, handle: a.createToken, params: []param{name},
			summary: "Make a token for a user", description: "Whoever shows it is that user: as a Bearer token, or where a protocol has no place for one in that of the password.",
			request: jsonOf(tokenConfig{}, tokenConfig{"the till in the shop", 86400}),
			answers: map[int]answer{http.StatusCreated: {description: "It was made", body: jsonOf(tokenMade{}, nil)}}, fails: changed,
		},
		{
			id: "deleteToken", method: http.MethodDelete, path: "/v1/users/{user}/tokens/{token}", tag: tagUsers, handle: a.deleteToken,
			params:  []param{name, inPath("token", "The token's id", "k3jx7q2mzw5a").within(1, 64)},
			summary: "Revoke a token", description: "Those who are in by it are ended.", answers: noContent("It is good no longer"), fails: forAdministrators(core.CodeNotFound, core.CodeTimeout),
		},
	}
}
