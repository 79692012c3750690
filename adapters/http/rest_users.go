package httpapi

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"portico/core"

	"github.com/gin-gonic/gin"
)

// people is what manages users; nil: the answer is 403 already.
func (a *Adapter) people(c *gin.Context) *core.People {
	p, err := busOf(c).People()
	if err != nil {
		a.fail(c, err)
		return nil
	}
	return p
}

// listUsers: GET /v1/users.
func (a *Adapter) listUsers(c *gin.Context) {
	p := a.people(c)
	if p == nil {
		return
	}
	after := func(_ context.Context, after string, limit int) ([]core.Person, error) {
		all := p.List()
		from, _ := slices.BinarySearchFunc(all, after+"\x00", func(u core.Person, name string) int { return strings.Compare(u.Name, name) })
		return all[from:min(len(all), from+limit)], nil
	}
	name := func(u core.Person) string { return u.Name }
	if page, next, ok := list(a, c, name, userShownOf, after); ok {
		c.PureJSON(http.StatusOK, userList{page, next})
	}
}

// getUser: GET /v1/users/{user}.
func (a *Adapter) getUser(c *gin.Context) {
	if p := a.people(c); p != nil {
		a.showUser(c, p, http.StatusOK)
	}
}

func (a *Adapter) showUser(c *gin.Context, p *core.People, status int) {
	u, err := p.Get(c.Param("user"))
	if err != nil {
		a.fail(c, err)
		return
	}
	c.PureJSON(status, userShownOf(u))
}

// putUser: PUT /v1/users/{user}.
func (a *Adapter) putUser(c *gin.Context) {
	p := a.people(c)
	if p == nil {
		return
	}
	var body userConfig
	if err := a.readJSON(c, &body); err != nil {
		a.fail(c, err)
		return
	}
	created, err := p.Put(c.Request.Context(), body.core(c.Param("user")))
	switch {
	case err != nil:
		a.fail(c, err)
	case created:
		a.showUser(c, p, http.StatusCreated)
	default:
		a.showUser(c, p, http.StatusOK)
	}
}

// deleteUser: DELETE /v1/users/{user}.
func (a *Adapter) deleteUser(c *gin.Context) {
	if p := a.people(c); p != nil {
		a.done(c, p.Delete(c.Request.Context(), c.Param("user")))
	}
}

// listTokens: GET /v1/users/{user}/tokens.
func (a *Adapter) listTokens(c *gin.Context) {
	p := a.people(c)
	if p == nil {
		return
	}
	all, err := p.Tokens(c.Param("user"))
	if err != nil {
		a.fail(c, err)
		return
	}
	out := tokenList{Items: make([]tokenShown, 0, len(all))}
	for _, t := range all {
		out.Items = append(out.Items, tokenShownOf(t))
	}
	c.PureJSON(http.StatusOK, out)
}

// createToken: POST /v1/users/{user}/tokens.
func (a *Adapter) createToken(c *gin.Context) {
	p := a.people(c)
	if p == nil {
		return
	}
	var body tokenConfig
	if err := a.readJSON(c, &body); err != nil {
		a.fail(c, err)
		return
	}
	var check checks
	check.within("expires_in", body.Seconds, 0, int64(10*365*24*time.Hour/time.Second))
	if check.err != nil {
		a.fail(c, check.err)
		return
	}
	t, secret, err := p.NewToken(c.Request.Context(), c.Param("user"), body.Label, time.Duration(body.Seconds)*time.Second)
	if err != nil {
		a.fail(c, err)
		return
	}
	c.Header("Cache-Control", "no-store")
	c.PureJSON(http.StatusCreated, tokenMade{tokenShownOf(t), secret})
}

// deleteToken: DELETE /v1/users/{user}/tokens/{token}.
func (a *Adapter) deleteToken(c *gin.Context) {
	if p := a.people(c); p != nil {
		a.done(c, p.Revoke(c.Request.Context(), c.Param("user"), c.Param("token")))
	}
}
