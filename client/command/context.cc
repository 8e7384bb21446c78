#include "client/command/context.h"

#include <fstream>
#include <iostream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/error.h"
#include "common/rpc/endpoint.h"
#include "common/rpc/grpc_status.h"

namespace dasm {

Stubs::Stubs(std::shared_ptr<grpc::Channel> channel)
    : jobs(v1::JobService::NewStub(channel)),
      artifacts(v1::ArtifactService::NewStub(channel)),
      cluster(v1::ClusterService::NewStub(channel)),
      experts(v1::ExpertService::NewStub(channel)) {}

absl::StatusOr<Stubs*> Context::Connect() {
  if (stubs_ == nullptr) {
    if (coordinator.empty()) {
      return InvalidField("coordinator",
                          "no server is named: give --coordinator ADDR or set "
                          "DASM_COORDINATOR, or use `dasmctl run` without a "
                          "server");
    }
    stubs_ = std::make_unique<Stubs>(dasm::Connect(coordinator));
  }
  return stubs_.get();
}

void Context::Bind(CLI::App* verb, Action action) {
  verb->callback([this, action = std::move(action)] { action_ = action; });
}

absl::Status FromServer(const Context& context, const grpc::Status& status) {
  const absl::Status converted = FromGrpcStatus(status);
  if (absl::IsUnavailable(converted)) {
    return WithContext(converted,
                       absl::StrCat("no answer from ", context.coordinator));
  }
  return converted;
}

absl::StatusOr<std::string> ReadSpecText(const std::string& file) {
  std::stringstream text;
  if (file == "-") {
    text << std::cin.rdbuf();
  } else {
    std::ifstream stream(file, std::ios::binary);
    if (!stream) {
      return InvalidField("file", absl::StrCat(file, ": cannot be read"));
    }
    text << stream.rdbuf();
  }
  return text.str();
}

}  // namespace dasm
