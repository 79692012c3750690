package proxy_test

import (
	"encoding/base64"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
)

func statusOf(err error) *status.Status {
	s, _ := status.FromError(err)
	return s
}

func reasonOf(err error) string {
	for _, detail := range statusOf(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

func basic(user string) map[string]string {
	return map[string]string{"authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":p"))}
}
