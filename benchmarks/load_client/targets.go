package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
)

const (
	method   = "/inference.GRPCInferenceService/ModelInfer"
	patience = 10 * time.Second
)

var errShape = errors.New("an answer of another shape")
var errReceipt = errors.New("an answer without a receipt")

func dial(plan Plan) target {
	if plan.Protocol == "http" {
		return dialHTTP(plan)
	}
	return dialGRPC(plan)
}

// raw hands messages through as the bytes that they are.
type raw struct{}

func (raw) Name() string                         { return "proto" }
func (raw) Marshal(message any) ([]byte, error)  { return *message.(*[]byte), nil }
func (raw) Unmarshal(data []byte, out any) error { *out.(*[]byte) = data; return nil }

func dialGRPC(plan Plan) target {
	secure := insecure.NewCredentials()
	if plan.Authority != "" {
		pem, err := os.ReadFile(plan.Authority)
		if err != nil {
			fail(err)
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(pem)
		secure = credentials.NewTLS(&tls.Config{RootCAs: pool})
	}
	channels := make([]*grpc.ClientConn, min(plan.Connections, plan.InFlight))
	for place := range channels {
		channel, err := grpc.NewClient(plan.Address, grpc.WithTransportCredentials(secure))
		if err != nil {
			fail(err)
		}
		channels[place] = channel
	}
	base := context.Background()
	if plan.Token != "" {
		base = metadata.AppendToOutgoingContext(base, "authorization", "Bearer "+plan.Token)
	}
	return func(caller int, request []byte) error {
		ctx, cancel := context.WithTimeout(base, patience)
		defer cancel()
		var answer []byte
		channel := channels[caller%len(channels)]
		err := channel.Invoke(ctx, method, &request, &answer, grpc.ForceCodec(raw{}))
		if err != nil {
			return errors.New(status.Code(err).String())
		}
		return checkProtobuf(answer, plan.Values, plan.Receipt)
	}
}

// checkProtobuf reads a ModelInferResponse: parameters 4, outputs 5 (contents 5, of which
// fp32_contents 6), raw_output_contents 6.
func checkProtobuf(answer []byte, values int, receipt bool) error {
	found, receipts := 0, 0
	err := fields(answer, func(number protowire.Number, value []byte) error {
		switch number {
		case 4:
			receipts++
		case 5:
			return fields(value, func(number protowire.Number, contents []byte) error {
				if number != 5 {
					return nil
				}
				return fields(contents, func(number protowire.Number, packed []byte) error {
					if number == 6 {
						found += len(packed) / 4
					}
					return nil
				})
			})
		case 6:
			found += len(value) / 4
		}
		return nil
	})
	if err != nil {
		return err
	}
	if found != values {
		return errShape
	}
	if receipt && receipts == 0 {
		return errReceipt
	}
	return nil
}

// fields hands out every field of bytes; others are passed over.
func fields(message []byte, take func(protowire.Number, []byte) error) error {
	for len(message) > 0 {
		number, kind, length := protowire.ConsumeTag(message)
		if length < 0 {
			return protowire.ParseError(length)
		}
		message = message[length:]
		if kind != protowire.BytesType {
			length = protowire.ConsumeFieldValue(number, kind, message)
		} else {
			var value []byte
			value, length = protowire.ConsumeBytes(message)
			if length >= 0 {
				if err := take(number, value); err != nil {
					return err
				}
			}
		}
		if length < 0 {
			return protowire.ParseError(length)
		}
		message = message[length:]
	}
	return nil
}

func dialHTTP(plan Plan) target {
	most := max(plan.InFlight, 512)
	client := &http.Client{
		Timeout:   patience,
		Transport: &http.Transport{MaxIdleConnsPerHost: most, MaxIdleConns: most},
	}
	url := "http://" + plan.Address + plan.Path
	return func(_ int, request []byte) error {
		response, err := client.Post(url, "application/json", bytes.NewReader(request))
		if err != nil {
			return errors.New("no response")
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			return errors.New("a response cut short")
		}
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("HTTP %d", response.StatusCode)
		}
		var answer any
		if json.Unmarshal(body, &answer) != nil || numbers(answer) != plan.Values {
			return errShape
		}
		return nil
	}
}

// numbers counts those in a JSON value.
func numbers(value any) int {
	found := 0
	switch value := value.(type) {
	case float64:
		return 1
	case []any:
		for _, item := range value {
			found += numbers(item)
		}
	case map[string]any:
		for _, item := range value {
			found += numbers(item)
		}
	}
	return found
}
