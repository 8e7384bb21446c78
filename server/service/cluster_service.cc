#include "server/service/cluster_service.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "common/rpc/protocol.h"
#include "server/manager/job_proto.h"

namespace dasm {
namespace {

v1::Worker::State ToProto(WorkerState state) {
  switch (state) {
    case WorkerState::kReady:
      return v1::Worker::STATE_READY;
    case WorkerState::kDraining:
      return v1::Worker::STATE_DRAINING;
    case WorkerState::kUnknown:
      return v1::Worker::STATE_UNKNOWN;
  }
  return v1::Worker::STATE_UNSPECIFIED;
}

v1::Worker ToProto(const WorkerView& view) {
  v1::Worker proto;
  proto.set_name(absl::StrCat("workers/", view.id));
  proto.set_state(ToProto(view.state));
  proto.set_slots(view.report.slots);
  proto.set_busy_slots(view.busy_slots);
  proto.set_threads(view.report.threads);
  proto.set_numerics_class(view.report.numerics_class);
  proto.set_version(view.report.version);
  if (view.last_seen != absl::InfinitePast()) {
    *proto.mutable_last_seen_time() = dasm::ToProto(view.last_seen);
  }
  proto.set_memory_bytes(view.report.memory_bytes);
  proto.set_cache_bytes(view.report.cache_bytes);
  for (const std::string& task : view.tasks) proto.add_tasks(task);
  return proto;
}

}  // namespace

grpc::Status ClusterService::ListWorkers(grpc::ServerContext*,
                                         const v1::ListWorkersRequest*,
                                         v1::ListWorkersResponse* response) {
  return rpc::Handle(metrics_, "ClusterService/ListWorkers", [&] {
    for (const WorkerView& view : manager_->ListWorkers()) {
      *response->add_workers() = ToProto(view);
    }
    return absl::OkStatus();
  });
}

grpc::Status ClusterService::DrainWorker(grpc::ServerContext*,
                                         const v1::DrainWorkerRequest* request,
                                         v1::Worker* response) {
  return rpc::Handle(
      metrics_, "ClusterService/DrainWorker", [&]() -> absl::Status {
        const std::string id(absl::StripPrefix(request->name(), "workers/"));
        if (id.empty()) {
          return InvalidField("name", "must be workers/WORKER");
        }
        DASM_ASSIGN_OR_RETURN(const WorkerView view,
                              manager_->DrainWorker(id, !request->undo()));
        *response = ToProto(view);
        return absl::OkStatus();
      });
}

grpc::Status ClusterService::GetServerInfo(grpc::ServerContext*,
                                           const v1::GetServerInfoRequest*,
                                           v1::ServerInfo* response) {
  return rpc::Handle(metrics_, "ClusterService/GetServerInfo", [&] {
    response->set_version(version_);
    response->set_protocol(kProtocol);
    *response->mutable_start_time() = dasm::ToProto(start_);
    return absl::OkStatus();
  });
}

}  // namespace dasm
