// Lists the gateway's services by reflection v1, as grpcurl does, and resolves the descriptor of every
// message that their methods name. It prints the methods, one a line.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	reflection "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type stream = reflection.ServerReflection_ServerReflectionInfoClient

func ask(on stream, request *reflection.ServerReflectionRequest) *reflection.ServerReflectionResponse {
	must(on.Send(request))
	answer, err := on.Recv()
	must(err)
	if failed := answer.GetErrorResponse(); failed != nil {
		must(fmt.Errorf("%v: %s", request, failed.ErrorMessage))
	}
	return answer
}

func main() {
	endpoint, authority, token := os.Args[1], os.Args[2], os.Args[3]
	transport, err := credentials.NewClientTLSFromFile(authority, "")
	must(err)
	connection, err := grpc.NewClient(endpoint, grpc.WithTransportCredentials(transport))
	must(err)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	on, err := reflection.NewServerReflectionClient(connection).ServerReflectionInfo(ctx)
	must(err)

	listed := ask(on, &reflection.ServerReflectionRequest{
		MessageRequest: &reflection.ServerReflectionRequest_ListServices{},
	}).GetListServicesResponse()
	files := map[string]*descriptorpb.FileDescriptorProto{}
	for _, service := range listed.Service {
		answer := ask(on, &reflection.ServerReflectionRequest{
			MessageRequest: &reflection.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: service.Name},
		})
		for _, written := range answer.GetFileDescriptorResponse().FileDescriptorProto {
			file := &descriptorpb.FileDescriptorProto{}
			must(proto.Unmarshal(written, file))
			files[file.GetName()] = file
		}
	}
	set := &descriptorpb.FileDescriptorSet{}
	for _, file := range files {
		set.File = append(set.File, file)
	}
	resolved, err := protodesc.NewFiles(set)
	must(err)
	for _, service := range listed.Service {
		show(resolved, protoreflect.FullName(service.Name))
	}
}

func show(resolved *protoregistry.Files, name protoreflect.FullName) {
	found, err := resolved.FindDescriptorByName(name)
	must(err)
	methods := found.(protoreflect.ServiceDescriptor).Methods()
	for at := 0; at < methods.Len(); at++ {
		method := methods.Get(at)
		for _, message := range []protoreflect.MessageDescriptor{method.Input(), method.Output()} {
			if message.IsPlaceholder() {
				must(fmt.Errorf("%s is not described", message.FullName()))
			}
		}
		fmt.Printf("/%s/%s\n", name, method.Name())
	}
}
