// What the widget says, by language. An owner overrides any of it by the site's `texts`; a missing word is English.
const WORDS = {
  en: {
    title: "Support", open: "Open the chat", close: "Close", fresh: "New conversation", past: "Your conversations",
    back: "Back", ask: "Write a message …", send: "Send", stop: "Stop",
    greeting: "Hello! What would you like to know?", automatic: "Automatic assistant", waiting: "A person has been told",
    person: "You are talking to a person: {agent}", human: "Person", you: "You", assistant: "Assistant",
    talk: "Talk to a person", talkWhat: "A person will see this conversation and answer you here.",
    note: "What should they know?", talkSend: "Ask for a person",
    told: "A person has been told and will answer here. Until then the assistant goes on answering.",
    sources: "Sources", closest: "Closest sources", page: "page {n}", visit: "Open the page",
    prompting: "Direct answer", rag: "From the documents", lora: "From the specialist",
    none: "No answer I am sure of",
    trying_prompting: "Trying a direct answer …", trying_rag: "Looking it up in the documents …",
    trying_lora: "Asking the specialist …", thinking: "Understanding the question …",
    good: "Helpful", bad: "Not helpful", why: "What was not good about it?", words: "In your words",
    thanks: "Thank you.", copy: "Copy", copied: "Copied", retry: "Try again", stopped: "Stopped.",
    failed: "That did not work.", lost: "The connection was lost.", busy: "There are too many questions right now.",
    again: "You can try again in {n} s.", offline: "You are offline.",
    joining: "Connecting again …",
    before: "Before we start", start: "Start the conversation", optional: "optional", none_yet: "No conversations yet.",
    unread: "{n} new messages", newest: "Newest messages",
    speaks: "The assistant answers in {languages}.", hint: "Answers can be wrong.",
  },
  de: {
    open: "Chat öffnen", close: "Schließen", fresh: "Neue Unterhaltung", past: "Ihre Unterhaltungen", back: "Zurück",
    ask: "Schreiben Sie eine Nachricht …", send: "Senden", stop: "Anhalten",
    greeting: "Hallo! Was möchten Sie wissen?", automatic: "Automatischer Assistent", waiting: "Ein Mensch ist verständigt",
    person: "Sie sprechen mit einem Menschen: {agent}", human: "Mensch", you: "Sie", assistant: "Assistent",
    talk: "Mit einem Menschen sprechen", talkWhat: "Ein Mensch sieht diese Unterhaltung und antwortet Ihnen hier.",
    note: "Was sollte man wissen?", talkSend: "Einen Menschen rufen",
    told: "Ein Mensch ist verständigt und antwortet hier. Bis dahin antwortet der Assistent weiter.",
    sources: "Quellen", closest: "Nächstliegende Quellen", page: "Seite {n}", visit: "Seite öffnen",
    prompting: "Direkte Antwort", rag: "Aus den Dokumenten", lora: "Vom Spezialisten",
    none: "Keine sichere Antwort",
    trying_prompting: "Direkte Antwort wird versucht …", trying_rag: "In den Dokumenten wird gesucht …",
    trying_lora: "Der Spezialist wird gefragt …", thinking: "Die Frage wird gelesen …",
    good: "Hilfreich", bad: "Nicht hilfreich", why: "Was war daran nicht gut?", words: "In Ihren Worten",
    thanks: "Danke.", copy: "Kopieren", copied: "Kopiert", retry: "Noch einmal", stopped: "Angehalten.",
    failed: "Das hat nicht geklappt.", lost: "Die Verbindung ist abgerissen.", busy: "Im Moment sind es zu viele Fragen.",
    again: "In {n} s können Sie es noch einmal versuchen.",
    offline: "Sie sind offline.", joining: "Verbindung wird wiederhergestellt …",
    before: "Bevor wir anfangen", start: "Unterhaltung beginnen",
    optional: "freiwillig", none_yet: "Noch keine Unterhaltungen.", unread: "{n} neue Nachrichten",
    newest: "Neueste Nachrichten", speaks: "Der Assistent antwortet auf {languages}.",
    hint: "Antworten können falsch sein.",
  },
  fr: {
    open: "Ouvrir le chat", close: "Fermer", fresh: "Nouvelle conversation", past: "Vos conversations", back: "Retour",
    ask: "Écrivez un message …", send: "Envoyer", stop: "Arrêter",
    greeting: "Bonjour ! Que souhaitez-vous savoir ?", automatic: "Assistant automatique",
    waiting: "Une personne est prévenue", person: "Vous parlez à une personne : {agent}", human: "Personne", you: "Vous",
    assistant: "Assistant", talk: "Parler à une personne",
    talkWhat: "Une personne verra cette conversation et vous répondra ici.", note: "Que doit-elle savoir ?",
    talkSend: "Demander une personne",
    told: "Une personne est prévenue et répondra ici. D'ici là, l'assistant continue de répondre.",
    sources: "Sources", closest: "Sources les plus proches", page: "page {n}", visit: "Ouvrir la page",
    prompting: "Réponse directe", rag: "D'après les documents", lora: "D'après le spécialiste",
    none: "Pas de réponse sûre",
    trying_prompting: "Essai d'une réponse directe …", trying_rag: "Recherche dans les documents …",
    trying_lora: "Le spécialiste est consulté …", thinking: "Lecture de la question …",
    good: "Utile", bad: "Pas utile", why: "Qu'est-ce qui n'allait pas ?", words: "Avec vos mots",
    thanks: "Merci.", copy: "Copier", copied: "Copié", retry: "Réessayer", stopped: "Arrêté.",
    failed: "Cela n'a pas marché.", lost: "La connexion a été coupée.", busy: "Il y a trop de questions en ce moment.",
    again: "Vous pourrez réessayer dans {n} s.",
    offline: "Vous êtes hors ligne.", joining: "Reconnexion …",
    before: "Avant de commencer", start: "Commencer la conversation",
    optional: "facultatif", none_yet: "Pas encore de conversation.", unread: "{n} nouveaux messages",
    newest: "Derniers messages", speaks: "L'assistant répond en {languages}.",
    hint: "Il peut se tromper.",
  },
  es: {
    open: "Abrir el chat", close: "Cerrar", fresh: "Nueva conversación", past: "Sus conversaciones", back: "Volver",
    ask: "Escriba un mensaje …", send: "Enviar", stop: "Parar",
    greeting: "¡Hola! ¿Qué le gustaría saber?", automatic: "Asistente automático", waiting: "Se ha avisado a una persona",
    person: "Está hablando con una persona: {agent}", human: "Persona", you: "Usted", assistant: "Asistente",
    talk: "Hablar con una persona", talkWhat: "Una persona verá esta conversación y le responderá aquí.",
    note: "¿Qué debería saber?", talkSend: "Pedir una persona",
    told: "Se ha avisado a una persona, que responderá aquí. Mientras tanto sigue respondiendo el asistente.",
    sources: "Fuentes", closest: "Fuentes más cercanas", page: "página {n}", visit: "Abrir la página",
    prompting: "Respuesta directa", rag: "De los documentos", lora: "Del especialista",
    none: "Sin respuesta segura",
    trying_prompting: "Probando una respuesta directa …", trying_rag: "Buscando en los documentos …",
    trying_lora: "Preguntando al especialista …", thinking: "Leyendo la pregunta …",
    good: "Útil", bad: "No es útil", why: "¿Qué no estuvo bien?", words: "Con sus palabras",
    thanks: "Gracias.", copy: "Copiar", copied: "Copiado", retry: "Reintentar", stopped: "Parado.",
    failed: "No ha funcionado.", lost: "Se perdió la conexión.", busy: "Hay demasiadas preguntas en este momento.",
    again: "Podrá reintentarlo en {n} s.", offline: "No tiene conexión.",
    joining: "Conectando de nuevo …", before: "Antes de empezar",
    start: "Empezar la conversación", optional: "opcional", none_yet: "Todavía no hay conversaciones.",
    unread: "{n} mensajes nuevos", newest: "Últimos mensajes",
    speaks: "El asistente responde en {languages}.", hint: "Puede equivocarse.",

  },
};

// What the server says in English, in the other languages; tests hold these against the server's own sentences.
const SERVER_WORDS = {
  de: {
    "very likely right": "sehr wahrscheinlich richtig", "likely right": "wahrscheinlich richtig",
    "more likely right than not": "eher richtig", "unsure": "unsicher", "confidence unknown": "Sicherheit unbekannt",
    "Wrong": "Falsch", "Not what I asked": "Nicht meine Frage", "Out of date": "Veraltet",
    "Hard to understand": "Schwer verständlich", "Something else": "Etwas anderes",
    "{agent} from support has joined. You are talking to a person now.":
      "{agent} ist da. Sie sprechen jetzt mit einem Menschen.",
    "{agent} has left. The assistant answers again; you can contact support at any time.":
      "{agent} ist gegangen. Der Assistent antwortet wieder.",
    "{agent} has marked this conversation as resolved. The assistant answers again if you write more.":
      "{agent} hält das für erledigt. Wenn Sie weiterschreiben, antwortet der Assistent.",
  },
  fr: {
    "very likely right": "très probablement juste", "likely right": "probablement juste",
    "more likely right than not": "plutôt juste", "unsure": "incertain", "confidence unknown": "confiance inconnue",
    "Wrong": "Faux", "Not what I asked": "Pas ma question", "Out of date": "Dépassé",
    "Hard to understand": "Difficile à comprendre", "Something else": "Autre chose",
    "{agent} from support has joined. You are talking to a person now.":
      "{agent} est là. Vous parlez maintenant à une personne.",
    "{agent} has left. The assistant answers again; you can contact support at any time.":
      "{agent} est parti. L'assistant répond de nouveau.",
    "{agent} has marked this conversation as resolved. The assistant answers again if you write more.":
      "{agent} considère que c'est résolu. Si vous écrivez encore, l'assistant répondra.",
  },
  es: {
    "very likely right": "muy probablemente correcto", "likely right": "probablemente correcto",
    "more likely right than not": "más bien correcto", "unsure": "inseguro", "confidence unknown": "confianza desconocida",
    "Wrong": "Incorrecto", "Not what I asked": "No es lo que pregunté", "Out of date": "Anticuado",
    "Hard to understand": "Difícil de entender", "Something else": "Otra cosa",
    "{agent} from support has joined. You are talking to a person now.":
      "{agent} está aquí. Ahora habla con una persona.",
    "{agent} has left. The assistant answers again; you can contact support at any time.":
      "{agent} se ha ido. El asistente vuelve a responder.",
    "{agent} has marked this conversation as resolved. The assistant answers again if you write more.":
      "{agent} lo da por resuelto. Si escribe más, responderá el asistente.",
  },
};
const REASONS = ["Wrong", "Not what I asked", "Out of date", "Hard to understand", "Something else"];

const filled = (words, values) => words.replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);

// `tell(key, values)` gives words of one's own, `tell.server(text)` the server's in the reader's language.
const teller = (language, overrides) => {
  const short = language.slice(0, 2).toLowerCase();
  const words = { ...WORDS.en, ...WORDS[short], ...overrides };
  const tell = (key, values = {}) => filled(String(words[key] ?? ""), values);
  const known = Object.entries(SERVER_WORDS[short] ?? {});
  tell.language = WORDS[short] || overrides ? language : "en";
  tell.server = (text) => {
    for (const [english, told] of known) {
      if (!english.includes("{agent}")) {
        if (text === english || text.startsWith(`${english} (`)) return told + text.slice(english.length);
        continue;
      }
      const rest = english.replace("{agent}", "");
      if (text.endsWith(rest)) return told.replace("{agent}", () => text.slice(0, -rest.length));
    }
    return text;
  };
  return tell;
};
