package httpapi

import (
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"runtime/debug"
	"strings"

	"portico/core"

	"github.com/gin-gonic/gin"
)

// recover turns a panic into a 500 and a line in the log; the connection and the gateway live on.
func (a *Adapter) recover(c *gin.Context) {
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			panic(p) // net/http's own way to cut a connection
		default:
			a.fail(c, &core.Error{Code: core.CodeInternal, Detail: "panic", Err: fmt.Errorf("panic: %v\n%s", p, debug.Stack())})
		}
	}()
	c.Next()
}

// guard keeps a browser from taking a message's payload for a page of this origin.
func guard() gin.HandlerFunc {
	nosniff, sandbox := []string{"nosniff"}, []string{"default-src 'none'; sandbox"} // shared by all answers; replaced by some, changed by none
	deny, silent, always := []string{"DENY"}, []string{"no-referrer"}, []string{"max-age=31536000"}
	return func(c *gin.Context) {
		h := c.Writer.Header()
		h["X-Content-Type-Options"] = nosniff
		h["Content-Security-Policy"] = sandbox
		h["X-Frame-Options"], h["Referrer-Policy"] = deny, silent
		if c.Request.TLS != nil {
			h["Strict-Transport-Security"] = always
		}
	}
}

// sameOrigin refuses what a page of another site makes a browser send: nobody may publish through a visitor's gateway.
func (a *Adapter) sameOrigin(c *gin.Context) {
	if err := a.origins.Check(c.Request); err != nil {
		a.fail(c, &core.Error{Code: core.CodePermissionDenied, Detail: "a page of another origin may not do that", Err: err})
	}
}

// library is the folder of web with the library for browsers.
const library = "client/"

// assets answers whatever no route is there for: with a file of web, else with 404.
func (a *Adapter) assets(web fs.FS) gin.HandlerFunc {
	var files http.Handler
	if web != nil {
		files = http.FileServerFS(web)
	}
	return func(c *gin.Context) {
		name := strings.TrimPrefix(path.Clean(c.Request.URL.Path), "/")
		read := c.Request.Method == http.MethodGet || c.Request.Method == http.MethodHead
		if files == nil || !read || !hasFile(web, name) {
			a.fail(c, core.Errorf(core.CodeNotFound, "there is nothing at this path"))
			return
		}
		h := c.Writer.Header()
		h.Set("Content-Security-Policy", "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		if strings.HasPrefix(name, library) && h.Get("Access-Control-Allow-Origin") == "" {
			h.Set("Access-Control-Allow-Origin", "*") // pages of other origins may import it; what they may do with it is checked when they connect
		}
		c.Status(http.StatusOK) // gin begins with 404 here
		files.ServeHTTP(c.Writer, c.Request)
	}
}

// hasFile tells whether name is a file, or a folder with an index.html: folders are not listed.
func hasFile(web fs.FS, name string) bool {
	if name == "" {
		name = "index.html"
	}
	info, err := fs.Stat(web, name)
	if err == nil && info.IsDir() {
		info, err = fs.Stat(web, path.Join(name, "index.html"))
	}
	return err == nil && info.Mode().IsRegular()
}
