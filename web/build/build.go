// Package build makes the page's assets from its sources, with esbuild's Go API: no other tool is needed.
package build

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
)

// A bundle is a set of entry points that are compiled in the same way.
type bundle struct {
	entries map[string]string // source by name, both without their folder's; names without ending
	format  api.Format
	ending  string // of scripts; "" is esbuild's
}

// bundles are the page's scripts and style sheets, and the library for those who import and those who require it.
var bundles = []bundle{
	{format: api.FormatESModule, entries: map[string]string{
		"portico": "src/main.ts", "portico.css": "src/portico.css", "reference/reference": "src/reference.ts", "reference/reference.css": "src/reference.css",
		"client/portico": "client/src/index.ts", "client/cbor": "client/src/cbor.ts",
	}},
	{format: api.FormatCommonJS, ending: ".cjs", entries: map[string]string{"client/portico": "client/src/index.ts", "client/cbor": "client/src/cbor.ts"}},
}

// copied are the sources that go out as they are, by the name that they get. The pages among them name the others.
var copied = map[string]string{
	"index.html": "src/index.html", "portico.svg": "src/portico.svg", "reference/index.html": "src/reference.html",
	"client/package.json": "client/package.json", "client/README.md": "client/README.md",
	"client/portico.d.ts": "client/portico.d.ts", "client/cbor.d.ts": "client/cbor.d.ts", "client/portico.d.cts": "client/portico.d.ts", "client/cbor.d.cts": "client/cbor.d.ts",
}

// Build returns the assets by file name, made from the folder web. The same sources give the same bytes on every machine.
func Build(web string) (map[string][]byte, error) {
	dir, err := filepath.Abs(web)
	if err != nil {
		return nil, fmt.Errorf("build the page: %w", err)
	}
	assets := map[string][]byte{}
	for _, b := range bundles {
		if err := b.build(dir, assets); err != nil {
			return nil, err
		}
	}
	for name, source := range copied {
		if assets[name], err = os.ReadFile(filepath.Join(dir, source)); err != nil {
			return nil, fmt.Errorf("build the page: %w", err)
		}
	}
	required := assets["client/cbor.d.cts"] // those who require it find the declarations of those who do
	assets["client/cbor.d.cts"] = bytes.ReplaceAll(required, []byte("./portico.js"), []byte("./portico.cjs"))
	for _, page := range []string{"index.html", "reference/index.html"} {
		assets[page] = stamp(page, assets)
	}
	return assets, nil
}

// build compiles the bundle's entries into assets.
func (b bundle) build(dir string, assets map[string][]byte) error {
	options := api.BuildOptions{
		AbsWorkingDir:     dir,
		Outdir:            dir,
		Bundle:            true,
		Format:            b.format,
		Target:            api.ES2022,
		Charset:           api.CharsetUTF8,
		MinifyWhitespace:  true,
		MinifyIdentifiers: true,
		MinifySyntax:      true,
		LineLimit:         200, // for those who read an error of it
		LogLevel:          api.LogLevelSilent,
	}
	if b.ending != "" {
		options.OutExtension = map[string]string{".js": b.ending}
	}
	for _, name := range slices.Sorted(maps.Keys(b.entries)) {
		options.EntryPointsAdvanced = append(options.EntryPointsAdvanced, api.EntryPoint{InputPath: "./" + b.entries[name], OutputPath: strings.TrimSuffix(name, ".css")})
	}
	result := api.Build(options)
	var all []error
	for _, m := range append(result.Errors, result.Warnings...) {
		all = append(all, errors.New(describe(m)))
	}
	if len(all) > 0 {
		return fmt.Errorf("build the page: %w", errors.Join(all...))
	}
	for _, f := range result.OutputFiles {
		name, err := filepath.Rel(dir, f.Path)
		if err != nil {
			return fmt.Errorf("build the page: %w", err)
		}
		assets[filepath.ToSlash(name)] = f.Contents
	}
	return nil
}

func describe(m api.Message) string {
	if m.Location == nil {
		return m.Text
	}
	return fmt.Sprintf("%s:%d: %s", m.Location.File, m.Location.Line, m.Text)
}

// stamp adds each asset's hash to its name in a page, so that a browser never mixes two versions.
func stamp(page string, assets map[string][]byte) []byte {
	text := assets[page]
	for name, content := range assets {
		near, err := filepath.Rel(path.Dir(page), name)
		if err != nil || path.Ext(name) == ".html" {
			continue
		}
		sum := sha256.Sum256(content)
		near = filepath.ToSlash(near)
		text = bytes.ReplaceAll(text, []byte(`"`+near+`"`), []byte(`"`+near+"?v="+hex.EncodeToString(sum[:6])+`"`))
	}
	return text
}
