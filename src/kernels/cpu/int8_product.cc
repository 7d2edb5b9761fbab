// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/int8_product.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <vector>

#include "core/parallel.h"
#include "kernels/cpu/int8_rows.h"
#include "kernels/cpu/onednn.h"

namespace nextscale::kernels::cpu {
namespace {

using dnnl::memory;

// The packed layout is the same for any number of rows; asked for with this many.
constexpr int64_t kTypicalRows = 64;

memory::desc any_weight(int64_t outputs, int64_t depth) {
  return {{depth, outputs}, memory::data_type::s8, memory::format_tag::any};
}

dnnl::matmul::primitive_desc plan(const dnnl::engine& engine, int64_t rows,
                                  const memory::desc& weight) {
  const memory::dims dims = weight.dims();
  const memory::desc x({rows, dims[0]}, memory::data_type::u8, memory::format_tag::ab);
  const memory::desc sums({rows, dims[1]}, memory::data_type::s32, memory::format_tag::ab);
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return {dnnl::matmul::desc(x, weight, sums), attributes, engine};
}

// oneDNN's layout of such weights; nothing where its product is slow. Only "brgemm" multiplies in
// eight bits: what the others fall back to is slower than our loop or saturates in between.
std::optional<memory::desc> packed_weight(const dnnl::engine& engine, int64_t outputs,
                                          int64_t depth) {
  try {
    const auto planned = plan(engine, kTypicalRows, any_weight(outputs, depth));
    if (!std::string_view(planned.impl_info_str()).starts_with("brg")) return std::nullopt;
    return planned.weights_desc();
  } catch (const dnnl::error& error) {
    if (is_unimplemented(error)) return std::nullopt;
    throw;
  }
}

class OneDnnInt8Product final : public Int8Product {
 public:
  OneDnnInt8Product(const Context& context, const dnnl::engine& engine,
                    const ConstTensorView& weights, const memory::desc& packed)
      : num_threads_(context.num_threads),
        engine_(engine),
        stream_(engine),
        weight_(pack_matrix(context, engine, weights, packed)),
        weight_memory_(packed, engine, weight_.as<uint8_t>()) {}

  void prepare(int64_t rows) override {
    const auto place = std::ranges::lower_bound(prepared_, rows, {}, &Prepared::rows);
    if (place != prepared_.end() && place->rows == rows) return;
    const OneDnnThreads threads(num_threads_);
    const auto planned = plan(engine_, rows, weight_memory_.get_desc());
    reserve_scratchpad(planned.scratchpad_desc());
    prepared_.insert(
        place, {rows, dnnl::matmul(planned), memory(planned.src_desc(), engine_, DNNL_MEMORY_NONE),
                memory(planned.dst_desc(), engine_, DNNL_MEMORY_NONE),
                memory(planned.scratchpad_desc(), engine_, DNNL_MEMORY_NONE)});
  }

  void run(const uint8_t* x, int64_t rows, int32_t* sums) const override {
    const auto found = std::ranges::lower_bound(prepared_, rows, {}, &Prepared::rows);
    NEXTSCALE_ASSERT(found != prepared_.end() && found->rows == rows);
    const OneDnnThreads threads(num_threads_);
    set_handle(found->x, x);
    set_handle(found->sums, sums);
    set_handle(found->scratchpad, scratchpad_.as<uint8_t>());
    const std::array<dnnl_exec_arg_t, 4> arguments = {
        {{DNNL_ARG_SRC, found->x.get()},
         {DNNL_ARG_WEIGHTS, weight_memory_.get()},
         {DNNL_ARG_DST, found->sums.get()},
         {DNNL_ARG_SCRATCHPAD, found->scratchpad.get()}}};
    execute(found->primitive, stream_, arguments);
  }

  size_t bytes() const override {
    return weight_.num_bytes() + (scratchpad_.empty() ? 0 : scratchpad_.num_bytes());
  }

 private:
  struct Prepared {
    int64_t rows;
    dnnl::matmul primitive;
    memory x;
    memory sums;
    memory scratchpad;
  };

  void reserve_scratchpad(const memory::desc& wanted) {
    const int64_t bytes = static_cast<int64_t>(wanted.get_size());
    if (bytes == 0 || (!scratchpad_.empty() && scratchpad_.shape()[0] >= bytes)) return;
    scratchpad_ = Tensor(DType::kU8, {bytes});
  }

  int num_threads_;
  dnnl::engine engine_;
  dnnl::stream stream_;
  Tensor weight_;  // packed
  memory weight_memory_;
  Tensor scratchpad_;               // what the largest prepared primitive wants; usually nothing
  std::vector<Prepared> prepared_;  // ascending by rows
};

class PlainInt8Product final : public Int8Product {
 public:
  PlainInt8Product(const Context& context, const ConstTensorView& weights)
      : num_threads_(context.num_threads), weight_(DType::kI8, weights.shape) {
    std::copy_n(weights.as<int8_t>(), weights.num_bytes(), weight_.as<int8_t>());
  }

  void prepare(int64_t /*rows*/) override {}

  void run(const uint8_t* x, int64_t rows, int32_t* sums) const override {
    constexpr int64_t kOutputsPerJob = 64;  // their weights stay in the cache for all rows
    const int64_t outputs = weight_.shape()[0];
    const int64_t depth = weight_.shape()[1];
    const int64_t jobs = (outputs + kOutputsPerJob - 1) / kOutputsPerJob;
    parallel_for(num_threads_, jobs, [&](int64_t job, int) {
      const int64_t first = job * kOutputsPerJob;
      const int64_t count = std::min(kOutputsPerJob, outputs - first);
      for (int64_t row = 0; row < rows; ++row) {
        multiply_row(x + row * depth, weight_.as<int8_t>() + first * depth, depth, count,
                     sums + row * outputs + first);
      }
    });
  }

  size_t bytes() const override { return weight_.num_bytes(); }

 private:
  int num_threads_;
  Tensor weight_;  // [outputs, depth]
};

}  // namespace

std::unique_ptr<Int8Product> make_int8_product(const Context& context,
                                               const ConstTensorView& weights) {
  const OneDnnThreads threads(context.num_threads);
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  if (const auto packed = packed_weight(engine, weights.shape[0], weights.shape[1])) {
    return std::make_unique<OneDnnInt8Product>(context, engine, weights, *packed);
  }
  return std::make_unique<PlainInt8Product>(context, weights);
}

size_t int8_product_bytes(const Context& context, int64_t outputs, int64_t depth) {
  const OneDnnThreads threads(context.num_threads);
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  const auto packed = packed_weight(engine, outputs, depth);
  return packed ? packed->get_size() : static_cast<size_t>(outputs * depth);
}

}  // namespace nextscale::kernels::cpu
