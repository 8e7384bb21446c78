#include "server/manager/worker_table.h"

namespace dasm {
namespace {

constexpr size_t kRememberedBlobs = 256;

}  // namespace

void LiveWorker::Remember(const std::string& digest) {
  if (digest.empty() || !blobs.insert(digest).second) return;
  blob_order.push_back(digest);
  if (blob_order.size() > kRememberedBlobs) {
    blobs.erase(blob_order.front());
    blob_order.pop_front();
  }
}

LiveWorker* WorkerTable::Find(const std::string& id) {
  const auto it = workers_.find(id);
  return it == workers_.end() ? nullptr : &it->second;
}

LiveWorker* WorkerTable::FindOrAdd(const std::string& id) {
  auto [it, inserted] = workers_.try_emplace(id);
  if (inserted) {
    it->second.report.worker = id;
    it->second.generation = first_generation_;
  }
  return &it->second;
}

WorkerState WorkerTable::StateOf(const std::string& id) const {
  const auto it = workers_.find(id);
  if (it == workers_.end() || !it->second.known || !leases_.IsLive(id)) {
    return WorkerState::kUnknown;
  }
  if (it->second.report.draining || drained_.contains(id)) {
    return WorkerState::kDraining;
  }
  return WorkerState::kReady;
}

void WorkerTable::Remove(const std::string& id) {
  workers_.erase(id);
  leases_.Forget(id);
}

}  // namespace dasm
