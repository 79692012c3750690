// Package web holds what the gateway serves at /: the page, built from src into dist, and the library for browsers, built from client into dist/client.
package web

import (
	"embed"
	"io/fs"
)

//go:generate go run ./build/generate . dist ../docs/browser.md

//go:embed dist
var dist embed.FS

// Assets returns the page's files, index.html at its root.
func Assets() (fs.FS, error) { return fs.Sub(dist, "dist") }
