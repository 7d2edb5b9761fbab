// SPDX-License-Identifier: Apache-2.0
#include "attention/token_weights.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace nextscale {
namespace {

// Keys of length zero are similar to none.
constexpr double kSmallestLength = 1e-12;

class Gatherer {
 public:
  Gatherer(const kernels::KernelTable& kernels, const WeighedCandidates& candidates,
           WeightSpace& space)
      : kernels_(kernels),
        candidates_(candidates),
        space_(space),
        head_dim_(candidates.tokens.head_dim) {}

  void begin(std::span<const int32_t> staying) {
    staying_ = staying;
    for (size_t index = 0; index < staying.size(); ++index) {
      float* key = space_.directions.data() + static_cast<int64_t>(index) * head_dim_;
      candidates_.tokens.read(CandidatePart::kKeys, staying[index], key);
      const double length = std::max(std::sqrt(dot(key, key, head_dim_)), kSmallestLength);
      for (int64_t feature = 0; feature < head_dim_; ++feature) {
        key[feature] = static_cast<float>(static_cast<double>(key[feature]) / length);
      }
      space_.weights[index] = 0;
      std::fill_n(space_.values.begin() + static_cast<int64_t>(index) * head_dim_, head_dim_, 0.0);
      add(staying[index], index);
    }
  }

  void drop(int64_t position) {
    pending_[static_cast<size_t>(num_pending_)] = position;
    float* key = space_.dropped.data() + num_pending_ * head_dim_;
    candidates_.tokens.read(CandidatePart::kKeys, position, key);
    if (++num_pending_ == kMergeBlock) flush();
  }

  void flush() {
    if (num_pending_ == 0) return;
    kernels_.nearest({.x = space_.dropped.data(),
                      .count = num_pending_,
                      .targets = space_.directions.data(),
                      .num_targets = static_cast<int64_t>(staying_.size()),
                      .width = head_dim_,
                      .nearest = space_.nearest.data(),
                      .products = space_.products.data(),
                      .workspace = space_.workspace});
    for (int64_t at = 0; at < num_pending_; ++at) {
      const auto index = static_cast<size_t>(at);
      add(pending_[index], static_cast<size_t>(space_.nearest[index]));
    }
    num_pending_ = 0;
  }

  void write(const MergedTokens& out, std::span<float> weights) {
    const DType dtype = candidates_.tokens.current.dtype;
    const size_t row_bytes = static_cast<size_t>(head_dim_) * dtype_bytes(dtype);
    for (size_t index = 0; index < staying_.size(); ++index) {
      weights[index] = static_cast<float>(space_.weights[index]);
      const bool grew = weights[index] != candidates_.weights[static_cast<size_t>(staying_[index])];
      out.absorbed[index] = grew ? 1 : 0;
      candidates_.tokens.read(CandidatePart::kKeys, staying_[index], space_.row.data());
      store_row(space_.row.data(), head_dim_, dtype, out.k + index * row_bytes);
      if (grew) {
        mean_value(index);
      } else {
        candidates_.tokens.read(CandidatePart::kValues, staying_[index], space_.row.data());
      }
      store_row(space_.row.data(), head_dim_, dtype, out.v + index * row_bytes);
    }
  }

 private:
  void add(int64_t position, size_t index) {
    const auto weight = static_cast<double>(candidates_.weights[static_cast<size_t>(position)]);
    candidates_.tokens.read(CandidatePart::kValues, position, space_.row.data());
    double* sums = space_.values.data() + static_cast<int64_t>(index) * head_dim_;
    for (int64_t feature = 0; feature < head_dim_; ++feature) {
      sums[feature] += weight * static_cast<double>(space_.row[static_cast<size_t>(feature)]);
    }
    space_.weights[index] += weight;
  }

  void mean_value(size_t index) {
    const double* sums = space_.values.data() + static_cast<int64_t>(index) * head_dim_;
    for (int64_t feature = 0; feature < head_dim_; ++feature) {
      space_.row[static_cast<size_t>(feature)] =
          static_cast<float>(sums[feature] / space_.weights[index]);
    }
  }

  const kernels::KernelTable& kernels_;
  const WeighedCandidates& candidates_;
  WeightSpace& space_;
  int64_t head_dim_;
  std::span<const int32_t> staying_;
  std::array<int64_t, kMergeBlock> pending_{};
  int64_t num_pending_ = 0;
};

}  // namespace

WeightSpace WeightSpace::take(Arena& arena, const kernels::KernelTable& kernels,
                              int64_t max_staying, int64_t head_dim) {
  const auto staying = static_cast<size_t>(max_staying);
  const auto features = static_cast<size_t>(max_staying * head_dim);
  return {.directions = arena.take<float>(features),
          .values = arena.take<double>(features),
          .weights = arena.take<double>(staying),
          .dropped = arena.take<float>(static_cast<size_t>(kMergeBlock * head_dim)),
          .nearest = arena.take<int32_t>(kMergeBlock),
          .products = arena.take<float>(kMergeBlock),
          .row = arena.take<float>(static_cast<size_t>(head_dim)),
          .workspace = arena.take<std::byte>(kernels.nearest_workspace(head_dim))};
}

size_t WeightSpace::bytes(const kernels::KernelTable& kernels, int64_t max_staying,
                          int64_t head_dim) {
  const auto staying = static_cast<size_t>(max_staying);
  const auto features = static_cast<size_t>(max_staying * head_dim);
  return Arena::rounded(features * sizeof(float)) + Arena::rounded(features * sizeof(double)) +
         Arena::rounded(staying * sizeof(double)) +
         Arena::rounded(static_cast<size_t>(kMergeBlock * head_dim) * sizeof(float)) +
         Arena::rounded(kMergeBlock * sizeof(int32_t)) +
         Arena::rounded(kMergeBlock * sizeof(float)) +
         Arena::rounded(static_cast<size_t>(head_dim) * sizeof(float)) +
         Arena::rounded(kernels.nearest_workspace(head_dim));
}

void gather_weights(const kernels::KernelTable& kernels, const WeighedCandidates& candidates,
                    std::span<const int32_t> staying, WeightSpace& space, const MergedTokens& out,
                    std::span<float> weights) {
  Gatherer gatherer(kernels, candidates, space);
  gatherer.begin(staying);
  size_t next = 0;
  for (int64_t position = 0; position < candidates.tokens.count(); ++position) {
    if (next < staying.size() && staying[next] == position) {
      ++next;
    } else {
      gatherer.drop(position);
    }
  }
  gatherer.flush();
  gatherer.write(out, weights);
}

}  // namespace nextscale
