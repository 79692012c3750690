package httpapi

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/rs/cors"
)

// checkOrigin tells whether text is an origin as browsers send it: scheme, host and perhaps a port, without wildcards.
func checkOrigin(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Host == "", u.User != nil, u.Path != "", u.RawQuery != "", u.Fragment != "", strings.Contains(text, "*"):
		return fmt.Errorf("http: allowed origin %q: an origin such as https://app.example.com is expected", text)
	}
	return nil
}

// crossOrigin lets the pages of these origins use the door, with credentials: each is named, there is no wildcard. Without any everything stays as it is.
func (a *Adapter) crossOrigin(origins []string, next http.Handler) (http.Handler, error) {
	if len(origins) == 0 {
		return next, nil
	}
	named := make([]string, 0, len(origins))
	for _, origin := range origins {
		origin = strings.ToLower(strings.TrimSuffix(origin, "/"))
		named = append(named, origin)
		if err := checkOrigin(origin); err != nil {
			return nil, err
		}
		if err := a.origins.AddTrustedOrigin(origin); err != nil {
			return nil, fmt.Errorf("http: allowed origin: %w", err)
		}
	}
	return cors.New(cors.Options{
		AllowedOrigins:   named,
		AllowCredentials: true,
		AllowedMethods:   []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete},
		AllowedHeaders:   []string{"*"}, // rs/cors tells the browser the names that it asked for, never the star
		ExposedHeaders: []string{
			"ETag", "Link", "Location", "Retry-After", "Preference-Applied", "Content-Encoding", "Content-Range", "Repr-Digest", "Last-Modified", "Portico-Token", "Portico-Attempt",
			"Portico-Redelivered", "Portico-Subject", "Portico-Reply", "Portico-Sequence", "Portico-Revision", "Portico-Message-Id", "Portico-Correlation-Id", "Portico-Type",
			"Grpc-Status", "Grpc-Message", "Grpc-Status-Details-Bin",
		},
		MaxAge:               int((10 * time.Minute).Seconds()),
		OptionsSuccessStatus: http.StatusNoContent,
	}).Handler(next), nil
}
