// Package build makes the page's assets from its sources, with esbuild's Go API: no other tool is needed.
package build

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"github.com/evanw/esbuild/pkg/api"
)

// copied are the sources that go out as they are, by the name that they get. The pages among them name the others.
var copied = map[string]string{"index.html": "index.html", "portico.svg": "portico.svg", "reference/index.html": "reference.html"}

// Build returns the assets by file name, made from the folder src. The same sources give the same bytes on every machine.
func Build(src string) (map[string][]byte, error) {
	dir, err := filepath.Abs(src)
	if err != nil {
		return nil, fmt.Errorf("build the page: %w", err)
	}
	assets, err := bundle(dir)
	if err != nil {
		return nil, err
	}
	for name, source := range copied {
		if assets[name], err = os.ReadFile(filepath.Join(dir, source)); err != nil {
			return nil, fmt.Errorf("build the page: %w", err)
		}
	}
	for _, page := range []string{"index.html", "reference/index.html"} {
		assets[page] = stamp(page, assets)
	}
	return assets, nil
}

// bundle compiles the script and the style sheet.
func bundle(dir string) (map[string][]byte, error) {
	result := api.Build(api.BuildOptions{
		AbsWorkingDir: dir,
		EntryPointsAdvanced: []api.EntryPoint{
			{InputPath: "./main.ts", OutputPath: "portico"},
			{InputPath: "./portico.css", OutputPath: "portico"},
			{InputPath: "./reference.ts", OutputPath: "reference/reference"},
			{InputPath: "./reference.css", OutputPath: "reference/reference"},
		},
		Outdir:            dir,
		Bundle:            true,
		Format:            api.FormatESModule,
		Target:            api.ES2022,
		Charset:           api.CharsetUTF8,
		MinifyWhitespace:  true,
		MinifyIdentifiers: true,
		MinifySyntax:      true,
		LogLevel:          api.LogLevelSilent,
	})
	var all []error
	for _, m := range append(result.Errors, result.Warnings...) {
		all = append(all, errors.New(describe(m)))
	}
	if len(all) > 0 {
		return nil, fmt.Errorf("build the page: %w", errors.Join(all...))
	}
	assets := map[string][]byte{}
	for _, f := range result.OutputFiles {
		name, err := filepath.Rel(dir, f.Path)
		if err != nil {
			return nil, fmt.Errorf("build the page: %w", err)
		}
		assets[filepath.ToSlash(name)] = f.Contents
	}
	return assets, nil
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
