// Package build makes the page's assets from its sources, with esbuild's Go API: no other tool is needed.
package build

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/evanw/esbuild/pkg/api"
)

// copied are the sources that go out as they are; index.html names the others.
var copied = [...]string{"index.html", "portico.svg"}

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
	for _, name := range copied {
		if assets[name], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			return nil, fmt.Errorf("build the page: %w", err)
		}
	}
	assets["index.html"] = stamp(assets["index.html"], assets)
	return assets, nil
}

// bundle compiles the script and the style sheet.
func bundle(dir string) (map[string][]byte, error) {
	result := api.Build(api.BuildOptions{
		AbsWorkingDir: dir,
		EntryPointsAdvanced: []api.EntryPoint{
			{InputPath: "./main.ts", OutputPath: "portico"},
			{InputPath: "./portico.css", OutputPath: "portico"},
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
		assets[filepath.Base(f.Path)] = f.Contents
	}
	return assets, nil
}

func describe(m api.Message) string {
	if m.Location == nil {
		return m.Text
	}
	return fmt.Sprintf("%s:%d: %s", m.Location.File, m.Location.Line, m.Text)
}

// stamp adds each asset's hash to its name in the page, so that a browser never mixes two versions.
func stamp(page []byte, assets map[string][]byte) []byte {
	for _, name := range [...]string{"portico.js", "portico.css", "portico.svg"} {
		sum := sha256.Sum256(assets[name])
		page = bytes.ReplaceAll(page, []byte(`"`+name+`"`), []byte(`"`+name+"?v="+hex.EncodeToString(sum[:6])+`"`))
	}
	return page
}
