// dasm.worker.v1.Frame to and from a gRPC message without a copy of the payload
// in between. The bytes are those of the protobuf encoding, header first.
#ifndef DASM_WORKER_COLLECTIVE_FRAME_H_
#define DASM_WORKER_COLLECTIVE_FRAME_H_

#include <cstdint>

#include "absl/types/span.h"
#include "dasm/worker/v1/collective.pb.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/slice.h"

namespace dasm {

// A payload of `size` > 0 bytes, aligned for floats, filled by `fill(char*)`.
template <typename Fill>
grpc::Slice MakePayload(int64_t size, const Fill& fill) {
  // Not the kind that keeps few bytes inside, at any alignment.
  grpc_slice slice = grpc_slice_malloc_large(static_cast<size_t>(size));
  fill(reinterpret_cast<char*>(GRPC_SLICE_START_PTR(slice)));
  return grpc::Slice(slice, grpc::Slice::STEAL_REF);
}

grpc::ByteBuffer EncodeFrame(const worker::v1::FrameHeader& header,
                             const grpc::Slice& payload = grpc::Slice());

// A frame as it arrived.
struct ReceivedFrame {
  worker::v1::FrameHeader header;
  grpc::ByteBuffer message;
  int64_t payload_begin = 0;
  int64_t payload_size = 0;
};

// False when `message` is no frame.
bool DecodeFrame(const grpc::ByteBuffer& message, ReceivedFrame* frame);
// Copies the payload into `to`, which has payload_size bytes.
void CopyPayload(const ReceivedFrame& frame, absl::Span<char> to);

}  // namespace dasm

#endif  // DASM_WORKER_COLLECTIVE_FRAME_H_
