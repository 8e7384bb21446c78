#include "worker/collective/frame.h"

#include <string>

#include "common/base/logging.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "grpcpp/support/proto_buffer_reader.h"

namespace dasm {
namespace {

using ::google::protobuf::io::CodedInputStream;
using ::google::protobuf::io::CodedOutputStream;
using ::google::protobuf::io::StringOutputStream;

// Field number and wire type "length-delimited".
constexpr uint32_t kHeaderTag = worker::v1::Frame::kHeaderFieldNumber << 3 | 2;
constexpr uint32_t kPayloadTag =
    worker::v1::Frame::kPayloadFieldNumber << 3 | 2;
// Far above any header; keeps a stranger from making us parse for long.
constexpr uint32_t kMaxHeaderBytes = 64 << 10;

}  // namespace

grpc::ByteBuffer EncodeFrame(const worker::v1::FrameHeader& header,
                             const grpc::Slice& payload) {
  std::string prefix;
  {
    StringOutputStream bytes(&prefix);
    CodedOutputStream out(&bytes);
    out.WriteTag(kHeaderTag);
    out.WriteVarint32(static_cast<uint32_t>(header.ByteSizeLong()));
    header.SerializeToCodedStream(&out);
    if (payload.size() > 0) {
      out.WriteTag(kPayloadTag);
      out.WriteVarint32(static_cast<uint32_t>(payload.size()));
    }
  }
  const grpc::Slice slices[] = {grpc::Slice(prefix), payload};
  return grpc::ByteBuffer(slices, payload.size() > 0 ? 2 : 1);
}

bool DecodeFrame(const grpc::ByteBuffer& message, ReceivedFrame* frame) {
  frame->message = message;
  frame->payload_begin = 0;
  frame->payload_size = 0;
  const int64_t size = static_cast<int64_t>(message.Length());
  grpc::ProtoBufferReader reader(&frame->message);
  if (!reader.status().ok()) return false;
  CodedInputStream in(&reader);
  uint32_t header_size;
  if (in.ReadTag() != kHeaderTag || !in.ReadVarint32(&header_size) ||
      header_size > kMaxHeaderBytes) {
    return false;
  }
  const auto limit = in.PushLimit(static_cast<int>(header_size));
  if (!frame->header.ParseFromCodedStream(&in) || !in.ConsumedEntireMessage()) {
    return false;
  }
  in.PopLimit(limit);
  if (in.CurrentPosition() == size) return true;
  uint32_t payload_size;
  if (in.ReadTag() != kPayloadTag || !in.ReadVarint32(&payload_size)) {
    return false;
  }
  frame->payload_begin = in.CurrentPosition();
  frame->payload_size = payload_size;
  return frame->payload_begin + frame->payload_size == size;
}

void CopyPayload(const ReceivedFrame& frame, absl::Span<char> to) {
  DASM_CHECK(static_cast<int64_t>(to.size()) == frame.payload_size);
  if (to.empty()) return;
  // Reading does not change the message.
  grpc::ProtoBufferReader reader(const_cast<grpc::ByteBuffer*>(&frame.message));
  CodedInputStream in(&reader);
  DASM_CHECK(in.Skip(static_cast<int>(frame.payload_begin)));
  DASM_CHECK(in.ReadRaw(to.data(), static_cast<int>(to.size())));
}

}  // namespace dasm
