// SPDX-License-Identifier: Apache-2.0
// Keeps what a run records and writes it as a trace file: how one implementation is compared with
// another. Not thread safe.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "core/trace.h"

namespace nextscale {

class TraceRecorder final : public TraceSink {
 public:
  enum class Attention { kNo, kYes };

  explicit TraceRecorder(Attention attention) : attention_(attention) {}

  void record(const std::string& name, const ConstTensorView& value) override;
  bool wants_attention() const override { return attention_ == Attention::kYes; }

  const std::map<std::string, Tensor>& tensors() const { return tensors_; }

  // Writes everything as safetensors; the file appears complete or not at all. Throws Error(kIo).
  void write(const std::filesystem::path& path) const;

 private:
  Attention attention_;
  std::map<std::string, Tensor> tensors_;
};

}  // namespace nextscale
