package httpapi

import (
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
)

// The handshake of CloudEvents' HTTP webhooks [webhook 4]: before it delivers, a sender asks whether it may, so that nobody can be made a target without
// a say. Consent is given in the answer; a
// callback that the sender offers is never called, because that would let anybody make the gateway call any address.
const (
	headerRequestOrigin = "WebHook-Request-Origin"
	headerRequestRate   = "WebHook-Request-Rate"
	headerAllowedOrigin = "WebHook-Allowed-Origin"
	headerAllowedRate   = "WebHook-Allowed-Rate"
)

// handshake answers OPTIONS: whoever has come so far may send, as fast as it likes; what is too much is answered 503 or 507 when it comes. Without an
// origin it is no handshake, and only the methods are told.
func (a *Adapter) handshake(c *gin.Context) {
	c.Header("Allow", "POST, OPTIONS")
	origin := c.GetHeader(headerRequestOrigin)
	if origin != "" {
		if !hostName(origin) {
			a.fail(c, badField("header."+headerRequestOrigin, "the name of a host", origin))
			return
		}
		c.Header(headerAllowedOrigin, origin)
		c.Header(headerAllowedRate, "*")
	}
	c.Status(http.StatusOK)
	c.Writer.WriteHeaderNow()
}

// hostName tells whether text is a DNS name; a port or scheme is none's part.
func hostName(text string) bool {
	return len(text) <= 253 && strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.") == ""
}

// greetHook: OPTIONS /hooks/{name}.
func (a *Adapter) greetHook(c *gin.Context) {
	if _, err := a.hooks.find(c.Request.Context(), c.Param("name")); err != nil {
		a.fail(c, err)
		return
	}
	a.handshake(c)
}

func handshakeParams() []param {
	return []param{
		inHeader(headerRequestOrigin, "Who asks: the host name of the sender", "", "eventemitter.example.com").within(1, 253),
		inHeader(headerRequestRate, "Requests a minute that it would like to send", "", "120").within(1, 32),
	}
}

func handshakeAnswers() map[int]answer {
	return map[int]answer{http.StatusOK: {description: "It may send", headers: []param{
		inHeader("Allow", "The methods that are understood", "", "POST, OPTIONS"),
		inHeader(headerAllowedOrigin, "Who may send; only if somebody asked", "", "eventemitter.example.com"),
		inHeader(headerAllowedRate, "`*`: as fast as it likes", "", "*"),
	}}}
}
