// Package web holds the page that the gateway serves at /, built from src into dist.
package web

import (
	"embed"
	"io/fs"
)

//go:generate go run ./build/generate src dist

//go:embed dist
var dist embed.FS

// Assets returns the page's files, index.html at its root.
func Assets() (fs.FS, error) { return fs.Sub(dist, "dist") }
