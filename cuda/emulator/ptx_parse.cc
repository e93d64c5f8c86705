// Parses PTX text into instructions. Supports only what nvcc emits for kernels like ours.
#include <cctype>
#include <memory>
#include <sstream>
#include <stdexcept>

#include "ptx.h"
#include "ptx_tables.h"

namespace emulator::ptx {
namespace {

[[noreturn]] void unknown(const std::string& line) {
  throw std::runtime_error("PTX that the interpreter does not know: " + line);
}

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts;
  std::stringstream stream(text);
  for (std::string part; std::getline(stream, part, at);) parts.push_back(part);
  return parts;
}
std::string trimmed(const std::string& text) {
  const size_t begin = text.find_first_not_of(" \t"), end = text.find_last_not_of(" \t");
  return begin == std::string::npos ? "" : text.substr(begin, end - begin + 1);
}

// Splits "a, {b, c}, [d+4]" into its operands.
std::vector<std::string> operandsOf(const std::string& text) {
  std::vector<std::string> operands;
  std::string current;
  int depth = 0;
  for (const char c : text) {
    if (c == '{' || c == '[') depth++;
    if (c == '}' || c == ']') depth--;
    if (c == ',' && depth == 0) {
      operands.push_back(trimmed(current));
      current.clear();
    } else {
      current += c;
    }
  }
  if (!trimmed(current).empty()) operands.push_back(trimmed(current));
  return operands;
}

Type typeOf(const std::string& name, const std::string& line) {
  static const std::map<std::string, Type> types = {
      {"pred", Type::pred}, {"b8", Type::b8},   {"b16", Type::b16}, {"b32", Type::b32}, {"b64", Type::b64},
      {"u8", Type::u8},     {"u16", Type::u16}, {"u32", Type::u32}, {"u64", Type::u64}, {"s8", Type::s8},
      {"s16", Type::s16},   {"s32", Type::s32}, {"s64", Type::s64}, {"f16", Type::f16}, {"f32", Type::f32}};
  const auto found = types.find(name);
  if (found == types.end()) unknown(line);
  return found->second;
}

class Parser {
 public:
  Parser(Kernel& kernel) : k_(kernel) {
    const char* names[] = {"%tid.x",    "%ntid.x",   "%ctaid.x",  "%ctaid.y", "%ctaid.z",
                           "%nctaid.x", "%nctaid.y", "%nctaid.z", "%laneid"};
    for (size_t i = 0; i < std::size(names); i++) k_.special[i] = rows_[names[i]] = k_.rows++;
  }

  void parameter(std::string line) {
    if (line.back() == ',') line.pop_back();
    // .param .align 8 .b8 name[32]  or  .param .u64 name
    const size_t bracket = line.find('[');
    const std::string head = trimmed(line.substr(0, bracket));
    const std::string name = trimmed(head.substr(head.find_last_of(" \t") + 1));
    int bytes = 0;
    if (bracket != std::string::npos) {
      bytes = std::stoi(line.substr(bracket + 1));
    } else {
      const std::string type = split(line, '.').at(2);
      bytes = bytesOf(typeOf(trimmed(type.substr(0, type.find(' '))), line));
    }
    parameterBytes_ = (parameterBytes_ + 7) / 8 * 8;
    k_.parameters[name] = parameterBytes_;
    k_.parameterBytes.push_back(bytes);
    parameterBytes_ += bytes;
  }

  void line(const std::string& text) {
    if (text.back() == ':') {
      labels_[text.substr(0, text.size() - 1)] = static_cast<int>(k_.instructions.size());
      return;
    }
    Instruction i{};
    i.text = text;
    std::string rest = text.substr(0, text.find(';'));
    if (rest[0] == '@') {
      i.guardNegated = rest[1] == '!';
      const size_t space = rest.find_first_of(" \t");
      i.guard = row(rest.substr(i.guardNegated ? 2 : 1, space - (i.guardNegated ? 2 : 1)), text);
      rest = trimmed(rest.substr(space));
    }
    const size_t space = rest.find_first_of(" \t");
    const std::vector<std::string> name = split(rest.substr(0, space), '.');
    decode(i, name, space == std::string::npos ? std::vector<std::string>{} : operandsOf(rest.substr(space)));
    i.issued = &issued[rest.substr(0, rest.find_first_of(" \t"))];
    k_.instructions.push_back(i);
  }

  // ".reg .pred %p1;" in braces within the body declares a register that hides another one of the same name.
  void declare(const std::string& line) {
    const size_t begin = line.find('%'), end = line.find(';');
    if (begin == std::string::npos || line.find('<') != std::string::npos ||
        line.find(',') != std::string::npos)
      unknown(line);
    const std::string name = trimmed(line.substr(begin, end - begin));
    const auto outer = rows_.find(name);
    hidden_.emplace_back(name, outer == rows_.end() ? -1 : outer->second);
    rows_[name] = k_.rows++;
  }
  void closeScope() {
    for (const auto& [name, outer] : hidden_) {
      if (outer < 0)
        rows_.erase(name);
      else
        rows_[name] = outer;
    }
    hidden_.clear();
  }

  void finish() {
    for (Instruction& i : k_.instructions)
      if (i.op == Op::branch) {
        const auto label = labels_.find(i.name);
        if (label == labels_.end()) unknown(i.text);
        i.target = label->second;
      }
  }

 private:
  int constant(uint64_t value) {
    k_.constants.emplace_back(k_.rows, value);
    return k_.rows++;
  }
  // The row of an operand, which is a register, a number, or a name.
  int row(const std::string& operand, const std::string& text) {
    const auto known = rows_.find(operand);
    if (known != rows_.end()) return known->second;
    if (operand[0] == '%') {
      if (operand.find('.') != std::string::npos) unknown(text);
      return rows_[operand] = k_.rows++;
    }
    uint64_t value = 0;  // dynamic shared memory begins at 0
    if (operand.compare(0, 2, "0f") == 0)
      value = std::stoull(operand.substr(2), nullptr, 16);
    else if (std::isdigit(operand[0]) || operand[0] == '-')
      value =
          operand[0] == '-' ? uint64_t(std::stoll(operand, nullptr, 0)) : std::stoull(operand, nullptr, 0);
    else if (k_.parameters.count(operand))
      value = kParameterBase + static_cast<uint64_t>(k_.parameters[operand]);
    else if (operand.find("memory") == std::string::npos)
      unknown(text);
    return rows_[operand] = constant(value);
  }
  std::vector<int> rowsOf(const std::string& operand, const std::string& text) {
    std::vector<int> rows;
    if (operand[0] != '{') return {row(operand, text)};
    for (const std::string& part : split(operand.substr(1, operand.size() - 2), ','))
      rows.push_back(row(trimmed(part), text));
    return rows;
  }
  // [%rd1+8]: a row and an offset.
  void address(Instruction& i, const std::string& operand) {
    if (operand[0] != '[') unknown(i.text);
    const std::string inside = operand.substr(1, operand.size() - 2);
    const size_t plus = inside.find('+');
    if (plus != std::string::npos) i.offset = std::stoll(inside.substr(plus + 1));
    i.operands.push_back(row(trimmed(inside.substr(0, plus)), i.text));
  }
  static bool has(const std::vector<std::string>& name, const char* part) {
    for (const std::string& p : name)
      if (p == part) return true;
    return false;
  }

  void decode(Instruction& i, const std::vector<std::string>& name, const std::vector<std::string>& o);
  bool decodeMemory(Instruction& i, const std::vector<std::string>& name, const std::vector<std::string>& o);
  bool decodeWarp(Instruction& i, const std::vector<std::string>& name, const std::vector<std::string>& o);

  Kernel& k_;
  std::map<std::string, int> rows_, labels_;
  std::vector<std::pair<std::string, int>> hidden_;
  int parameterBytes_ = 0;
};

bool Parser::decodeMemory(Instruction& i, const std::vector<std::string>& name,
                          const std::vector<std::string>& o) {
  const std::string& op = name[0];
  if (op == "ld" || op == "st") {
    i.op = op == "ld" ? Op::load : Op::store;
    i.space = has(name, "param") ? Space::param : has(name, "shared") ? Space::shared : Space::global;
    if (has(name, "local")) unknown(i.text);
    i.type = typeOf(name.back(), i.text);
    address(i, o.at(op == "ld" ? 1 : 0));
    i.to = rowsOf(o.at(op == "ld" ? 0 : 1), i.text);
    i.wide = op == "ld" && o[0].find("%rd") != std::string::npos;
  } else if (op == "atom" && has(name, "global") && has(name, "add") && name.back() == "u32") {
    i.op = Op::atomicAdd;
    i.to = rowsOf(o.at(0), i.text);
    address(i, o.at(1));
    i.operands.push_back(row(o.at(2), i.text));
  } else if (op == "cp" && has(name, "commit_group")) {
    i.op = Op::commit;
  } else if (op == "cp" && has(name, "wait_group")) {
    i.op = Op::wait;
    i.target = std::stoi(o.at(0));
  } else if (op == "cp" && has(name, "cg") && o.size() == 4 && o[2] == "16") {
    i.op = Op::copyAsync;
    address(i, o[0]);
    const int64_t offset = i.offset;
    i.offset = 0;
    address(i, o[1]);
    if (offset != 0 || i.offset != 0) unknown(i.text);
    i.operands.push_back(row(o[3], i.text));
  } else {
    return false;
  }
  return true;
}

bool Parser::decodeWarp(Instruction& i, const std::vector<std::string>& name,
                        const std::vector<std::string>& o) {
  const std::string& op = name[0];
  if (op == "bar" && has(name, "warp")) {
    i.op = Op::warpBarrier;
  } else if ((op == "bar" || op == "barrier") && has(name, "red")) {
    if (!has(name, "or") || o.at(1) != "0") unknown(i.text);
    i.op = Op::barrierVote;
    i.to = rowsOf(o.at(0), i.text);
    i.operands = rowsOf(o.back(), i.text);
  } else if (op == "bar" || op == "barrier") {
    if (!has(name, "sync") || o.at(0) != "0" || o.size() != 1) unknown(i.text);
    i.op = Op::barrier;
  } else if (op == "membar" || op == "fence") {
    i.op = Op::fence;
  } else if (op == "vote") {
    i.op = Op::vote;
    i.name = name.at(2);
    if (i.name != "any" && i.name != "ballot") unknown(i.text);
    i.code = i.name == "ballot";
    i.to = rowsOf(o.at(0), i.text);
    i.operands = {row(o.at(1), i.text), row(o.at(2), i.text)};
  } else if (op == "shfl") {
    i.op = Op::shuffle;
    i.name = name.at(2);
    if (i.name != "bfly" && i.name != "idx") unknown(i.text);
    i.code = i.name == "bfly";
    const std::string to = o.at(0).substr(0, o.at(0).find('|'));
    i.to = rowsOf(to, i.text);
    for (size_t n = 1; n < 5; n++) i.operands.push_back(row(o.at(n), i.text));
  } else if (op == "ldmatrix") {
    if (!has(name, "m8n8") || !has(name, "shared") || !has(name, "b16")) unknown(i.text);
    i.op = Op::loadMatrix;
    i.transposed = has(name, "trans");
    i.to = rowsOf(o.at(0), i.text);
    address(i, o.at(1));
  } else if (op == "mma") {
    i.op = Op::mma;
    const bool k16 = has(name, "m16n8k16"), k8 = has(name, "m16n8k8");
    i.bfloat16 = has(name, "bf16");
    const std::string half = i.bfloat16 ? "bf16" : "f16";
    const std::vector<std::string> rest{"row", "col", "f32", half, half, "f32"};
    if (!(k16 || k8) || std::vector<std::string>(name.end() - 6, name.end()) != rest) unknown(i.text);
    i.code = k16 ? 16 : 8;
    i.to = rowsOf(o.at(0), i.text);
    i.operands = rowsOf(o.at(1), i.text);
    i.second = rowsOf(o.at(2), i.text);
    i.third = rowsOf(o.at(3), i.text);
    if (i.to.size() != 4 || i.operands.size() != size_t(i.code / 4) || i.second.size() != size_t(i.code / 8))
      unknown(i.text);
  } else {
    return false;
  }
  return true;
}

void Parser::decode(Instruction& i, const std::vector<std::string>& name, const std::vector<std::string>& o) {
  const std::string& op = name[0];
  i.name = op;
  i.flush = has(name, "ftz");
  if (decodeMemory(i, name, o) || decodeWarp(i, name, o)) return;
  if (op == "bra") {
    i.op = Op::branch;
    i.name = o.at(0);
    return;
  }
  if (op == "ret" || op == "exit") {
    i.op = Op::end;
    return;
  }
  i.type = typeOf(op == "cvta"                                          ? "b64"
                  : op == "cvt" && name.at(name.size() - 2) == "bf16x2" ? "b32"
                  : op == "cvt" && name.at(name.size() - 2) == "f16x2"  ? "b32"
                                                                        : name.back(),
                  i.text);
  i.to = rowsOf(o.at(0), i.text);
  for (size_t n = 1; n < o.size() && o[n][0] != '{'; n++) i.operands.push_back(row(o[n], i.text));
  const int unary = codeOf(kUnary, op), arithmetic = codeOf(kArithmetic, op);
  if (op == "mov" || op == "cvta") {
    if (o.at(0)[0] == '{' || o.at(1)[0] == '{') {
      // Two halves to a whole, or a whole to two halves, depending on which side has a single register.
      if (op != "mov" || i.type != Type::b32) unknown(i.text);
      i.operands = rowsOf(o.at(1), i.text);
      if (i.to.size() + i.operands.size() != 3) unknown(i.text);
      i.op = Op::halves;
      return;
    }
    i.op = Op::mov;
  } else if (op == "cvt") {
    const std::string to = name.at(name.size() - 2);
    i.from = typeOf(name.back(), i.text);
    if (to == "bf16x2" || to == "f16x2") {
      i.op = Op::packHalves;
      i.bfloat16 = to == "bf16x2";
      if (!has(name, "rn")) unknown(i.text);
      return;
    }
    i.op = Op::convert;
    i.type = typeOf(to, i.text);
    i.name = name.size() > 3 ? name[1] : "";
    i.code = codeOf(kRounding, i.name);
    if (i.code < 0) unknown(i.text);
  } else if (op == "setp") {
    i.op = Op::compare;
    i.name = name.at(1);
    i.code = codeOf(kComparisons, i.name);
    if (i.code < 0 || (name.size() > 3 && !i.flush)) unknown(i.text);
  } else if (op == "selp") {
    i.op = Op::select;
  } else if (op == "shl" || op == "shr") {
    i.op = Op::shift;
    i.code = op == "shl";
  } else if (op == "bfi") {
    i.op = Op::bitFieldInsert;
  } else if (op == "prmt" && name.size() == 2) {
    i.op = Op::permute;
  } else if (op == "fma" || (op == "mad" && i.type == Type::f32)) {
    i.op = Op::fma;
  } else if (op == "mad" && name.at(1) == "lo") {
    i.op = Op::multiplyAdd;
  } else if (op == "mul" && i.type != Type::f32) {
    i.op = Op::multiply;
    i.code = codeOf(kMultiply, name.at(1));
    if (i.code < 0) unknown(i.text);
  } else if (unary >= 0 && o.size() == 2) {
    i.op = Op::unary;
    i.code = unary;
  } else if (arithmetic >= 0 && o.size() == 3) {
    i.op = Op::arithmetic;
    i.code = arithmetic;
  } else {
    unknown(i.text);
  }
}

}  // namespace

Module parse(const std::string& text) {
  Module module;
  std::stringstream stream(text);
  Kernel* kernel = nullptr;
  std::unique_ptr<Parser> parser;
  int depth = 0;
  for (std::string raw; std::getline(stream, raw);) {
    const std::string line = trimmed(raw.substr(0, raw.find("//")));
    if (line.empty() || line.compare(0, 7, ".pragma") == 0) continue;
    if (line.compare(0, 4, ".reg") == 0) {
      if (depth > 1) parser->declare(line);
      continue;
    }
    const size_t entry = line.find(".entry");
    if (entry != std::string::npos) {
      const std::string name = trimmed(line.substr(entry + 6, line.find('(') - entry - 6));
      kernel = &module[name];
      kernel->name = name;
      parser = std::make_unique<Parser>(*kernel);
    } else if (kernel && depth == 0 && line.compare(0, 6, ".param") == 0) {
      parser->parameter(line);
    } else if (line == "{" && kernel) {
      depth++;
    } else if (line == "}" && kernel) {
      if (--depth > 0) {
        parser->closeScope();
        continue;
      }
      parser->finish();
      kernel = nullptr;
    } else if (kernel && depth > 0) {
      if (line[0] == '.') unknown(line);  // local memory, static shared memory
      parser->line(line);
    }
  }
  return module;
}

}  // namespace emulator::ptx
